//! Requests to other machines, over the C runtime's.

const c = @import("runtime.zig");

/// A header of a request.
pub const Header = c.Header;

/// A request to another machine, for tasks with `capabilities` for its host.
pub const Request = struct {
    method: [:0]const u8 = "GET",
    url: [:0]const u8,
    headers: []const Header = &.{},
    body: []const u8 = "",
    /// How long to wait for the answer; 0 is as long as the worker does.
    timeout_s: f64 = 0,
};

/// An answer, whatever its status.
pub const Response = struct {
    status: u16,
    body: []const u8,
    came: c.Response,

    /// The first header of this name.
    pub fn header(self: *const Response, name: [:0]const u8) ?[]const u8 {
        const found = c.lovage_http_header_of(&self.came, name.ptr);
        return if (found.at == null) null else found.slice();
    }
};

/// Sends it and waits for the whole answer; null is what the host's error explains.
pub fn send(call: *c.Call, asked: Request) ?Response {
    const given = c.Request{
        .method = asked.method.ptr,
        .url = asked.url.ptr,
        .headers = asked.headers.ptr,
        .header_count = asked.headers.len,
        .body = .{ .at = asked.body.ptr, .size = asked.body.len },
        .timeout_s = asked.timeout_s,
    };
    var came: c.Response = undefined;
    if (!c.lovage_http(call, &given, &came)) return null;
    return .{ .status = @intCast(came.status), .body = came.body.slice(), .came = came };
}
