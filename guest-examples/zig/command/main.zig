//! Tasks without an SDK, in Zig: a program that reads JSON and prints JSON.
//!
//! Standard input is one object with `task`, `id`, `args`, `kwargs`, `attempt` (from 1) and
//! `idempotency_key`; manifest.json beside this file says which tasks there are.

const std = @import("std");
const json = std.json;

/// EX_TEMPFAIL of sysexits.h: to be run again.
const again = 75;

const Call = struct {
    task: []const u8,
    args: []const json.Value,
    kwargs: json.ArrayHashMap(json.Value),
    attempt: u32,
    idempotency_key: []const u8,

    fn get(call: Call, position: usize, name: []const u8) ?json.Value {
        if (position < call.args.len) return call.args[position];
        return call.kwargs.map.get(name);
    }
};

const Task = enum { add, echo, fail, log, once, retry };

pub fn main(init: std.process.Init) !u8 {
    const arena = init.arena.allocator();
    var in = std.Io.File.stdin().reader(init.io, &.{});
    const text = try in.interface.allocRemaining(arena, .unlimited);
    const call = try json.parseFromSliceLeaky(Call, arena, text, .{ .ignore_unknown_fields = true });
    var stdout = std.Io.File.stdout().writer(init.io, &.{});
    const out = &stdout.interface;
    const name = call.task["conformance.".len..];
    switch (std.meta.stringToEnum(Task, name) orelse return error.NoSuchTask) {
        .add => {
            const x = call.get(0, "x") orelse return error.MissingArgument;
            const y = call.get(1, "y") orelse return error.MissingArgument;
            try out.print("{d}", .{x.integer + y.integer});
        },
        .echo => try json.Stringify.value(call.get(0, "value"), .{}, out),
        .fail => {
            std.debug.print("{s}\n", .{call.get(0, "message").?.string});
            return 1;
        },
        .log => std.debug.print("a line on standard error\n", .{}),
        .once => try json.Stringify.value(call.idempotency_key, .{}, out),
        .retry => {
            if (call.attempt <= 2) {
                const after: json.Value = call.get(0, "after") orelse .{ .float = 0.1 };
                try json.Stringify.value(.{ .retry = .{ .after = after } }, .{}, out);
                return again;
            }
            try out.print("{d}", .{call.attempt - 1});
        },
    }
    return 0;
}
