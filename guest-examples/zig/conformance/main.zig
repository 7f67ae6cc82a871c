//! The tasks that every language's SDK is measured by, in Zig.

const std = @import("std");
const lovage = @import("lovage");

fn add(_: *lovage.Ctx, args: struct { x: i64, y: i64 }) !i64 {
    return args.x + args.y;
}

fn echo(_: *lovage.Ctx, args: struct { value: lovage.Json }) !lovage.Json {
    return args.value;
}

fn fail(ctx: *lovage.Ctx, args: struct { message: []const u8 = "no stock" }) !void {
    ctx.arguments(.{ args.message, 42, .{ .sku = "A-1" } });
    return ctx.fail(@src(), "OutOfStock", "{s}", .{args.message});
}

fn retry(ctx: *lovage.Ctx, args: struct { after: f64 = 0.1 }) !u32 {
    if (ctx.retries() < 2) return ctx.retry(@src(), args.after, "not yet", .{});
    return ctx.retries();
}

fn exhaust(ctx: *lovage.Ctx) !void {
    return ctx.fail(@src(), "ConnectionError", "bank down", .{});
}

fn reject(ctx: *lovage.Ctx, args: struct { reason: []const u8 = "never" }) !void {
    return ctx.reject(@src(), "{s}", .{args.reason});
}

fn charge(retries: u32, key: []const u8) ![]const u8 {
    return std.fmt.allocPrint(lovage.allocator, "{s}/{d}", .{ key, retries });
}

fn steps(ctx: *lovage.Ctx, args: struct { order: i64 }) !struct { []const u8, u32 } {
    const retries = ctx.retries();
    const receipt = try ctx.step(@src(), []const u8, "charge", .retry, args.order, retries, charge);
    if (retries == 0) return ctx.retry(@src(), 0, "mail is down", .{});
    return .{ receipt, retries };
}

fn outbox(ctx: *lovage.Ctx, args: struct { good: bool = true }) ![]const u8 {
    const call = try ctx.send(@src(), "conformance.add", .{ 20, 22 }, .{ .headers = "{\"tenant\": \"acme\"}" });
    if (!args.good) return ctx.fail(@src(), "ValueError", "the call must not leave", .{});
    return call;
}

fn progress(ctx: *lovage.Ctx, args: struct { hold_ms: i64 = 0 }) ![]const u8 {
    try ctx.progress(@src(), "PROGRESS", .{ .done = 3, .of = 10 });
    _ = ctx.sleepMs(args.hold_ms);
    return "finished";
}

fn log(ctx: *lovage.Ctx) !void {
    const words = [_][]const u8{ "trace", "debug", "info", "warn", "error" };
    for (words, 0..) |word, level| ctx.log(@enumFromInt(level), "{\"number\": 1}", "a line of {s}", .{word});
    const line = "a line on standard output\n";
    _ = std.c.write(1, line.ptr, line.len);
}

fn soft(ctx: *lovage.Ctx) ![]const u8 {
    if (ctx.sleepMs(8000)) return "never told";
    return "SoftTimeLimitExceeded after tidying up";
}

fn once(ctx: *lovage.Ctx, _: struct { order_id: i64 }) ![]const u8 {
    return ctx.idempotencyKey();
}

const Item = struct { sku: []const u8, count: i64 = 1 };

fn typed(_: *lovage.Ctx, args: struct { item: Item, note: ?[]const u8 = null }) !i64 {
    return if (args.item.sku.len > 0) args.item.count else 0;
}

/// A call of `conformance.add`, as Celery writes it.
fn addition(x: i64, y: i64, options: anytype) Addition(@TypeOf(options)) {
    return .{ .args = .{ x, y }, .options = options };
}

fn Addition(comptime Options: type) type {
    return struct { task: []const u8 = "conformance.add", args: struct { i64, i64 }, kwargs: struct {} = .{}, options: Options };
}

const none: struct {} = .{};

fn ignore(ctx: *lovage.Ctx, args: struct { child: []const u8 }) !void {
    _ = try ctx.sendSignature(@src(), addition(20, 22, .{ .task_id = args.child }));
    return ctx.ignore();
}

fn requeue(ctx: *lovage.Ctx) ![]const u8 {
    if (!ctx.attempt().redelivered) return ctx.requeue(@src(), "once more", .{});
    return "redelivered";
}

fn replace(ctx: *lovage.Ctx, args: struct { x: i64 }) !void {
    return ctx.replace(addition(args.x, 100, none));
}

fn changed(ctx: *lovage.Ctx, args: struct { word: []const u8 }) !struct { []const u8, u32 } {
    if (ctx.retries() == 0) {
        ctx.retryOptions(.{ .args = [0]i64{}, .kwargs = .{ .word = "second" } });
        return ctx.retry(@src(), 0, "another word", .{});
    }
    return .{ args.word, ctx.retries() };
}

fn canvas(ctx: *lovage.Ctx, args: struct { x: i64 }) !lovage.Json {
    return ctx.sendSignature(@src(), .{
        .task = "celery.chord",
        .args = [0]i64{},
        .kwargs = .{
            .header = .{ addition(args.x, 1, none), addition(args.x, 2, none) },
            .body = .{ .task = "conformance.echo", .args = [0]i64{}, .kwargs = none, .options = none },
        },
        .options = none,
        .subtask_type = "chord",
    });
}

fn request(ctx: *lovage.Ctx, _: struct { word: []const u8 }) !lovage.Json {
    return ctx.request(@src());
}

fn ask(ctx: *lovage.Ctx, args: struct { url: [:0]const u8 }) !struct { u16, ?[]const u8, lovage.Json } {
    const answer = try ctx.fetch(@src(), .{
        .method = "POST",
        .url = args.url,
        .headers = &.{ .{ .name = "X-Mine", .value = "conformance" }, .{ .name = "Content-Type", .value = "application/json" } },
        .body = "{\"number\": 7}",
        .timeout_s = 10,
    });
    if (answer.status >= 400) return ctx.fail(@src(), "HTTPError", "the status is {d}", .{answer.status});
    return .{ answer.status, answer.header("X-Theirs"), .{ .text = answer.body } };
}

var attempts: u32 = 0;

fn count(_: *lovage.Ctx) !u32 {
    attempts += 1;
    return attempts;
}

fn shared(ctx: *lovage.Ctx) !struct { u32, []const u8 } {
    attempts += 1;
    return .{ attempts, std.mem.span(ctx.attempt().task_id) };
}

fn sleep(ctx: *lovage.Ctx, args: struct { seconds: f64 }) !f64 {
    _ = ctx.sleepMs(@intFromFloat(args.seconds * 1000));
    return args.seconds;
}

comptime {
    lovage.module("conformance", &.{
        lovage.task("conformance.add", add, .{ .doc = "Adds two numbers." }),
        lovage.task("conformance.echo", echo, .{ .doc = "Any JSON value, as it came." }),
        lovage.task("conformance.fail", fail, .{ .retry_only_on_request = true }),
        lovage.task("conformance.retry", retry, .{ .max_retries = 2 }),
        lovage.task("conformance.exhaust", exhaust, .{ .max_retries = 1, .retry_delay_s = 0.05 }),
        lovage.task("conformance.reject", reject, .{}),
        lovage.task("conformance.steps", steps, .{ .max_retries = 1 }),
        lovage.task("conformance.outbox", outbox, .{ .retry_only_on_request = true }),
        lovage.task("conformance.progress", progress, .{}),
        lovage.task("conformance.log", log, .{}),
        lovage.task("conformance.soft", soft, .{ .soft_time_limit_s = 0.2, .time_limit_s = 10 }),
        lovage.task("conformance.once", once, .{ .idempotency_key = "order:{order_id}" }),
        lovage.task("conformance.typed", typed, .{}),
        lovage.task("conformance.ignore", ignore, .{}),
        lovage.task("conformance.requeue", requeue, .{}),
        lovage.task("conformance.replace", replace, .{}),
        lovage.task("conformance.changed", changed, .{ .max_retries = 1 }),
        lovage.task("conformance.canvas", canvas, .{}),
        lovage.task("conformance.request", request, .{}),
        lovage.task("conformance.http", ask, .{ .capabilities = "http:127.0.0.1:*" }),
        lovage.task("conformance.count", count, .{}),
        lovage.task("conformance.shared", shared, .{ .reuse = 100 }),
        lovage.task("conformance.sleep", sleep, .{}),
    });
}
