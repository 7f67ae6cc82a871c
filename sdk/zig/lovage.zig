//! Lovage tasks in Zig, over the C SDK's runtime.
//!
//!     const lovage = @import("lovage");
//!
//!     fn add(_: *lovage.Ctx, args: struct { x: i64, y: i64 }) !i64 {
//!         return args.x + args.y;
//!     }
//!
//!     comptime {
//!         lovage.module("shop", &.{lovage.task("shop.add", add, .{ .doc = "Adds." })});
//!     }
//!
//! A task's second parameter is a struct: its fields are the task's parameters, by name and by
//! position, and its defaults theirs. What does not fit is a TypeError in the caller and is not
//! retried. What is returned is anything that std.json can write. Memory of `lovage.allocator` lives
//! until the attempt is over. Each attempt has a fresh instance.

const std = @import("std");
const c = @import("runtime.zig");
const http = @import("http.zig");

/// Memory that need not be freed.
pub const allocator: std.mem.Allocator = std.heap.c_allocator;

/// A JSON text as it came: for integers of any size, NaN, lone surrogates.
pub const Json = struct {
    text: []const u8,

    pub fn jsonStringify(self: Json, writer: anytype) !void {
        try writer.beginWriteRaw();
        try writer.writer.writeAll(self.text);
        writer.endWriteRaw();
    }
};

/// What ended a task early; made by `fail`, `reject`, `retry` and by what the host refused. Any other
/// error fails the task, too: with its own name as the exception's.
pub const Ended = error{Ended};

pub const Level = enum(c_int) { trace, debug, info, warn, err };

/// What becomes of a step that was begun and of which nobody knows whether its effect took place.
pub const Doubt = enum(c_int) { retry, fail, ask };

/// How a call to another task is sent.
pub const Options = struct {
    queue: ?[:0]const u8 = null,
    countdown_s: f64 = 0,
    expires_s: f64 = 0,
    priority: ?u8 = null,
    ignore_result: bool = false,
    /// A JSON object.
    headers: ?[:0]const u8 = null,
};

/// What the manifest says of a task; what is left out has the operator's default.
pub const Policy = struct {
    doc: ?[:0]const u8 = null,
    /// Retries, not counting the first attempt.
    max_retries: ?u16 = null,
    retry_only_on_request: bool = false,
    backoff: ?[:0]const u8 = null,
    retry_delay_s: f64 = 0,
    retry_cap_s: f64 = 0,
    idempotency_key: ?[:0]const u8 = null,
    time_limit_s: f64 = 0,
    soft_time_limit_s: f64 = 0,
    memory_bytes: i64 = 0,
    queue: ?[:0]const u8 = null,
    rate_limit: ?[:0]const u8 = null,
    schedule: ?[:0]const u8 = null,
    /// What it asks the operator for, separated by spaces: "http:api.bank.example".
    capabilities: ?[:0]const u8 = null,
    /// How many attempts may share an instance, one after another.
    reuse: u8 = 1,
};

pub const Header = http.Header;
pub const Request = http.Request;
pub const Response = http.Response;

/// The attempt that a task is run for, and the host it may call.
pub const Ctx = struct {
    call: *c.Call,

    pub fn attempt(self: *Ctx) *const c.Attempt {
        return c.lovage_attempt(self.call);
    }

    pub fn retries(self: *Ctx) u32 {
        return self.attempt().retries;
    }

    /// The key under which this task happens once.
    pub fn idempotencyKey(self: *Ctx) []const u8 {
        return std.mem.span(self.attempt().idempotency_key);
    }

    /// Waits; other tasks run meanwhile. False when the soft time limit ended it.
    pub fn sleepMs(_: *Ctx, milliseconds: i64) bool {
        return c.lovage_sleep_ms(milliseconds);
    }

    /// Milliseconds until the soft limit; null when there is none.
    pub fn softTimeLeftMs(_: *Ctx) ?i64 {
        const left = c.lovage_soft_time_left_ms();
        return if (left == std.math.maxInt(i64)) null else left;
    }

    pub fn revoked(_: *Ctx) bool {
        return c.lovage_revoked();
    }

    pub fn log(_: *Ctx, level: Level, fields: ?[:0]const u8, comptime format: []const u8, values: anytype) void {
        c.lovage_log(@intFromEnum(level), ptr_of(fields), "%s", text_of(format, values).ptr);
    }

    /// Shows a state such as PROGRESS to whoever asks for the result.
    pub fn progress(self: *Ctx, src: std.builtin.SourceLocation, state: [:0]const u8, meta: anytype) Ended!void {
        if (!c.lovage_progress(self.call, state.ptr, json_of(meta).ptr)) return self.refused(src);
    }

    /// A call that leaves if and only if this attempt succeeds; its id. `args` is a tuple.
    pub fn send(self: *Ctx, src: std.builtin.SourceLocation, name: [:0]const u8, args: anytype, options: Options) Ended![]const u8 {
        const asked = c.Options{
            .queue = ptr_of(options.queue),
            .countdown_s = options.countdown_s,
            .expires_s = options.expires_s,
            .priority_plus_one = if (options.priority) |it| @as(c_int, it) + 1 else 0,
            .ignore_result = options.ignore_result,
            .headers = ptr_of(options.headers),
        };
        const list = if (@typeInfo(@TypeOf(args)).@"struct".field_names.len == 0) "[]" else json_of(args);
        const id = c.lovage_send(self.call, name.ptr, list.ptr, null, &asked);
        return if (id) |it| std.mem.span(it) else self.refused(src);
    }

    /// Does something once over all attempts: `effect(key)` runs unless an earlier attempt committed
    /// what it returned, which is returned then. `input` is what the effect depends on.
    pub fn step(self: *Ctx, src: std.builtin.SourceLocation, comptime T: type, name: [:0]const u8, doubt: Doubt, input: anytype, context: anytype, effect: anytype) anyerror!T {
        var begun = c.lovage_step_begin(self.call, name.ptr, @intFromEnum(doubt), json_of(input).ptr);
        switch (begun.state) {
            .refused => return self.refused(src),
            .done => return decode(T, begun.value),
            .run, .ambiguous => {
                const value: T = try effect(context, std.mem.span(begun.key.?));
                if (!c.lovage_step_commit(self.call, &begun, json_of(value).ptr)) return self.refused(src);
                return value;
            },
        }
    }

    /// The task failed; its retry policy decides whether it runs again.
    pub fn fail(self: *Ctx, src: std.builtin.SourceLocation, class: [:0]const u8, comptime format: []const u8, values: anytype) Ended {
        return self.end(src, 0, class, text_of(format, values));
    }

    /// The task failed for good.
    pub fn reject(self: *Ctx, src: std.builtin.SourceLocation, comptime format: []const u8, values: anytype) Ended {
        return self.end(src, 1, "celery.exceptions:Reject", text_of(format, values));
    }

    /// The task wants to be run again: after so many seconds, or as its policy says.
    pub fn retry(self: *Ctx, src: std.builtin.SourceLocation, after_s: ?f64, comptime format: []const u8, values: anytype) Ended {
        if (after_s) |seconds| c.lovage_after(self.call, seconds);
        return self.end(src, 2, "celery.exceptions:Retry", text_of(format, values));
    }

    /// The message goes back to its queue, and is delivered again as the same attempt.
    pub fn requeue(self: *Ctx, src: std.builtin.SourceLocation, comptime format: []const u8, values: anytype) Ended {
        return self.end(src, 4, "celery.exceptions:Reject", text_of(format, values));
    }

    /// The task has seen to its end itself: no result is written.
    pub fn ignore(self: *Ctx) Ended {
        ending = c.lovage_ignore(self.call);
        return error.Ended;
    }

    /// Another signature, in Celery's JSON, takes this task's place.
    pub fn replace(self: *Ctx, signature: anytype) Ended {
        ending = c.lovage_replace(self.call, json_of(signature).ptr);
        return error.Ended;
    }

    /// Before `retry`: what the next attempt has other than this one, a struct with options of Celery's
    /// `Task.retry` by their names.
    pub fn retryOptions(self: *Ctx, options: anytype) void {
        c.lovage_retry_options(self.call, json_of(options).ptr);
    }

    /// Everything else that Celery's `Task.request` has.
    pub fn request(self: *Ctx, src: std.builtin.SourceLocation) Ended!Json {
        return self.answer(src, c.lovage_request(self.call));
    }

    /// Puts any signature in the outbox: chain, group, chord, with links, in Celery's JSON.
    pub fn sendSignature(self: *Ctx, src: std.builtin.SourceLocation, signature: anytype) Ended!Json {
        return self.answer(src, c.lovage_send_signature(self.call, json_of(signature).ptr));
    }

    /// The same as one more member of the chord that this task is a member of.
    pub fn addToChord(self: *Ctx, src: std.builtin.SourceLocation, signature: anytype) Ended!Json {
        return self.answer(src, c.lovage_add_to_chord(self.call, json_of(signature).ptr));
    }

    /// Sends a request and waits for the whole answer. The worker gives a POST or a PATCH without an
    /// Idempotency-Key one that is the same in every attempt.
    pub fn fetch(self: *Ctx, src: std.builtin.SourceLocation, asked: Request) Ended!Response {
        return http.send(self.call, asked) orelse self.refused(src);
    }

    fn answer(self: *Ctx, src: std.builtin.SourceLocation, said: c.Text) Ended!Json {
        return if (said.at == null) self.refused(src) else .{ .text = said.slice() };
    }

    /// Before `fail`: the exception's arguments, a tuple, instead of its message.
    pub fn arguments(self: *Ctx, values: anytype) void {
        c.lovage_arguments(self.call, json_of(values).ptr);
    }

    fn refused(self: *Ctx, src: std.builtin.SourceLocation) Ended {
        ending = c.lovage_end_of_host_error(self.call, src.file.ptr, @intCast(src.line), src.fn_name.ptr);
        return error.Ended;
    }

    fn end(self: *Ctx, src: std.builtin.SourceLocation, kind: c_int, class: [:0]const u8, message: [:0]const u8) Ended {
        ending = c.lovage_end_with(self.call, kind, class.ptr, src.file.ptr, @intCast(src.line), src.fn_name.ptr, "%s", message.ptr);
        return error.Ended;
    }
};

/// How the task that runs wants to end, when it answers `error.Ended`. One attempt at a time.
var ending: c.End = .{ .kind = 0 };

/// A task: `function` is `fn (*Ctx, struct {…}) !T` or `fn (*Ctx) !T`.
pub fn task(comptime name: [:0]const u8, comptime function: anytype, comptime policy: Policy) c.Task {
    const params = @typeInfo(@TypeOf(function)).@"fn".param_types;
    const Args = if (params.len > 1) params[1].? else struct {};
    const Runner = struct {
        fn run(call: *c.Call) callconv(.c) c.End {
            var ctx = Ctx{ .call = call };
            const answer = if (params.len > 1) function(&ctx, arguments(Args, call)) else function(&ctx);
            const value = switch (@typeInfo(@TypeOf(answer))) {
                .error_union => answer catch |problem| return failed(&ctx, problem),
                else => answer,
            };
            return c.lovage_return_json(call, text(if (@TypeOf(value) == void) "null" else json_of(value)));
        }
    };
    return .{
        .name = name.ptr,
        .run = Runner.run,
        .function = name.ptr,
        .params = (comptime fields_of(Args) ++ "").ptr,
        .doc = ptr_of(policy.doc),
        .max_retries = if (policy.max_retries) |most| (if (most == 0) -1 else most) else 0,
        .retry_only_on_request = policy.retry_only_on_request,
        .backoff = ptr_of(policy.backoff),
        .retry_delay_s = policy.retry_delay_s,
        .retry_cap_s = policy.retry_cap_s,
        .idempotency_key = ptr_of(policy.idempotency_key),
        .time_limit_s = policy.time_limit_s,
        .soft_time_limit_s = policy.soft_time_limit_s,
        .memory_bytes = policy.memory_bytes,
        .queue = ptr_of(policy.queue),
        .rate_limit = ptr_of(policy.rate_limit),
        .schedule = ptr_of(policy.schedule),
        .capabilities = ptr_of(policy.capabilities),
        .reuse = policy.reuse,
    };
}

/// Makes the program a module of these tasks. Say it once, in a `comptime` block of the root file.
pub fn module(comptime name: [:0]const u8, comptime tasks: []const c.Task) void {
    const Module = struct {
        var list: [tasks.len]c.Task = tasks[0..tasks.len].*;
        const module_name: [*:0]const u8 = name.ptr;

        fn setup() callconv(.c) void {
            for (&list) |*each| c.lovage_register(each);
        }

        fn language() callconv(.c) [*:0]const u8 {
            return "zig";
        }
    };
    @export(&Module.setup, .{ .name = "lovage_setup" });
    @export(&Module.language, .{ .name = "lovage_language" });
    @export(&Module.module_name, .{ .name = "lovage_module_name" });
}

fn failed(ctx: *Ctx, problem: anyerror) c.End {
    if (problem == error.Ended) return ending;
    const name = @errorName(problem);
    return c.lovage_end_with(ctx.call, 0, name.ptr, null, 0, null, "%s", name.ptr);
}

/// The C runtime's words for a struct's fields.
fn fields_of(comptime T: type) [:0]const u8 {
    comptime {
        const info = @typeInfo(T).@"struct";
        var out: [:0]const u8 = "";
        for (info.field_names, info.field_types, info.field_attrs, 0..) |name, Field, attrs, index| {
            out = out ++ (if (index > 0) ", " else "") ++ name ++ ": " ++ type_of(Field);
            if (attrs.defaultValue(Field)) |value| out = out ++ initial_of(Field, value);
        }
        return out;
    }
}

fn initial_of(comptime T: type, comptime value: T) [:0]const u8 {
    return switch (@typeInfo(T)) {
        .optional => "",
        .int, .float => std.fmt.comptimePrint(" = {d}", .{value}),
        .bool => if (value) " = true" else " = false",
        .pointer => std.fmt.comptimePrint(" = \"{s}\"", .{value}),
        else => @compileError("a parameter's default is a number, a bool or a text"),
    };
}

fn type_of(comptime T: type) [:0]const u8 {
    if (T == Json) return "any";
    return switch (@typeInfo(T)) {
        .int => "int",
        .float => "number",
        .bool => "bool",
        .optional => |it| type_of(it.child) ++ "?",
        .pointer => |it| if (it.child == u8) "text" else "[" ++ type_of(it.child) ++ "]",
        .@"struct" => "{" ++ fields_of(T) ++ "}",
        else => @compileError("a parameter cannot be a " ++ @typeName(T)),
    };
}

fn arguments(comptime T: type, call: *c.Call) T {
    return decode(T, c.lovage_json(call, "")) catch unreachable;
}

/// A value of a JSON text that the runtime has checked already.
fn decode(comptime T: type, json: c.Text) error{OutOfMemory}!T {
    if (T == Json) return .{ .text = json.slice() };
    const plain = json.slice();
    switch (@typeInfo(T)) {
        .int => return std.fmt.parseInt(T, plain, 10) catch std.math.maxInt(T),
        .float => return std.fmt.parseFloat(T, plain) catch std.math.nan(T),
        .bool => return std.mem.eql(u8, plain, "true"),
        .optional => |it| return if (std.mem.eql(u8, plain, "null")) null else try decode(it.child, json),
        .@"struct" => |info| {
            var value: T = undefined;
            inline for (info.field_names, info.field_types) |name, Field| {
                @field(value, name) = try decode(Field, c.lovage_at(json, name.ptr));
            }
            return value;
        },
        .pointer => |it| {
            if (it.child == u8) return std.mem.span(c.lovage_unquote(json));
            var list: std.ArrayList(it.child) = .empty;
            var index: usize = 0;
            while (true) : (index += 1) {
                const element = c.lovage_at(json, text_of("{d}", .{index}).ptr);
                if (element.at == null) return list.items;
                try list.append(allocator, try decode(it.child, element));
            }
        },
        else => @compileError("no JSON is a " ++ @typeName(T)),
    }
}

fn json_of(value: anytype) [:0]const u8 {
    const plain = std.json.Stringify.valueAlloc(allocator, value, .{}) catch @panic("out of memory");
    return allocator.dupeSentinel(u8, plain, 0) catch @panic("out of memory");
}

fn text_of(comptime format: []const u8, values: anytype) [:0]const u8 {
    return std.fmt.allocPrintSentinel(allocator, format, values, 0) catch @panic("out of memory");
}

fn text(plain: [:0]const u8) c.Text {
    return .{ .at = plain.ptr, .size = plain.len };
}

fn ptr_of(plain: ?[:0]const u8) ?[*:0]const u8 {
    return if (plain) |it| it.ptr else null;
}
