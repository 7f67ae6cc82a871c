//! The tasks of {{name}}, as a program: the first argument names the task, standard input is a JSON
//! object with `task`, `id`, `args`, `kwargs`, `attempt` and `idempotency_key`. What is printed is the
//! result, standard error is the log. It ends with 0 when it is done, with 75 to be run again; any
//! other status has failed. What it says of its tasks is in manifest.json.

const std = @import("std");
const json = std.json;

const Call = struct {
    task: []const u8,
    args: []const json.Value,
    kwargs: json.ArrayHashMap(json.Value),

    /// The argument at a position or of a name.
    fn get(call: Call, position: usize, name: []const u8) ?json.Value {
        if (position < call.args.len) return call.args[position];
        return call.kwargs.map.get(name);
    }
};

pub fn main(init: std.process.Init) !void {
    const arena = init.arena.allocator();
    var in = std.Io.File.stdin().reader(init.io, &.{});
    const text = try in.interface.allocRemaining(arena, .unlimited);
    const call = try json.parseFromSliceLeaky(Call, arena, text, .{ .ignore_unknown_fields = true });
    var out = std.Io.File.stdout().writer(init.io, &.{});
    const writer = &out.interface;
    if (std.mem.endsWith(u8, call.task, ".hello")) {
        const name = if (call.get(0, "name")) |it| it.string else "world";
        const greeting = try std.fmt.allocPrint(arena, "Hello, {s}!", .{name});
        try json.Stringify.value(greeting, .{}, writer);
    } else {
        const x = call.get(0, "x") orelse return error.MissingArgument;
        const y = call.get(1, "y") orelse return error.MissingArgument;
        try json.Stringify.value(x.integer + y.integer, .{}, writer);
    }
    try writer.flush();
}
