//! The tasks of {{name}}.

const std = @import("std");
const lovage = @import("lovage");

fn hello(_: *lovage.Ctx, args: struct { name: []const u8 = "world" }) ![]const u8 {
    return std.fmt.allocPrint(lovage.allocator, "Hello, {s}!", .{args.name});
}

fn charge(ctx: *lovage.Ctx, args: struct { order_id: i64, cents: i64 }) ![]const u8 {
    if (args.cents <= 0) return ctx.reject(@src(), "nothing to charge", .{});
    return ctx.step(@src(), []const u8, "charge", .retry, args.order_id, {}, pay);
}

/// Hand the key to whoever is paid: it is the same over all attempts.
fn pay(_: void, key: []const u8) ![]const u8 {
    return std.fmt.allocPrint(lovage.allocator, "charged with the key {s}", .{key});
}

comptime {
    lovage.module("{{module}}", &.{
        lovage.task("{{module}}.hello", hello, .{ .doc = "Greets someone." }),
        lovage.task("{{module}}.charge", charge, .{
            .doc = "Charges an order, once.",
            .max_retries = 5,
            .backoff = "exponential",
            .idempotency_key = "order:{order_id}",
        }),
    });
}
