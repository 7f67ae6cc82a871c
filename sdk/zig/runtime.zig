//! `lovage.h` in Zig's words: the C runtime that carries the contract.

pub const Text = extern struct {
    at: ?[*]const u8,
    size: usize,

    pub fn slice(self: Text) []const u8 {
        return if (self.at) |at| at[0..self.size] else "";
    }
};

pub const Call = opaque {};

pub const End = extern struct { kind: c_int };

pub const Task = extern struct {
    name: [*:0]const u8,
    run: *const fn (*Call) callconv(.c) End,
    function: [*:0]const u8,
    params: ?[*:0]const u8 = null,
    doc: ?[*:0]const u8 = null,
    max_retries: c_int = 0,
    retry_only_on_request: bool = false,
    backoff: ?[*:0]const u8 = null,
    retry_delay_s: f64 = 0,
    retry_cap_s: f64 = 0,
    idempotency_key: ?[*:0]const u8 = null,
    time_limit_s: f64 = 0,
    soft_time_limit_s: f64 = 0,
    memory_bytes: i64 = 0,
    queue: ?[*:0]const u8 = null,
    rate_limit: ?[*:0]const u8 = null,
    schedule: ?[*:0]const u8 = null,
    capabilities: ?[*:0]const u8 = null,
    reuse: c_int = 0,
    more: ?[*:0]const u8 = null,
    next: ?*Task = null,
};

pub const Attempt = extern struct {
    task_id: [*:0]const u8,
    root_id: ?[*:0]const u8,
    parent_id: ?[*:0]const u8,
    group_id: ?[*:0]const u8,
    retries: u32,
    /// -1 is no bound.
    max_retries: i64,
    idempotency_key: [*:0]const u8,
    queue: [*:0]const u8,
    eta: ?[*:0]const u8,
    expires: ?[*:0]const u8,
    redelivered: bool,
    headers: Text,
};

pub const StepState = enum(c_int) { refused = -1, run, done, ambiguous };

pub const Step = extern struct {
    state: StepState,
    key: ?[*:0]const u8,
    value: Text,
    handle: i32,
};

pub const Options = extern struct {
    queue: ?[*:0]const u8,
    countdown_s: f64,
    expires_s: f64,
    priority_plus_one: c_int,
    ignore_result: bool,
    headers: ?[*:0]const u8,
};

pub const Header = extern struct {
    name: [*:0]const u8,
    value: [*:0]const u8,
};

pub const Request = extern struct {
    method: [*:0]const u8,
    url: [*:0]const u8,
    headers: [*]const Header,
    header_count: usize,
    body: Text,
    timeout_s: f64,
};

pub const Field = extern struct { name: Text, value: Text };

pub const Response = extern struct {
    status: c_int,
    body: Text,
    headers: ?[*]const Field,
    header_count: usize,
};

pub extern fn lovage_http(call: *Call, request: *const Request, response: *Response) bool;
pub extern fn lovage_http_header_of(response: *const Response, name: [*:0]const u8) Text;
pub extern fn lovage_register(task: *Task) void;
pub extern fn lovage_json(call: *Call, path: [*:0]const u8) Text;
pub extern fn lovage_at(json: Text, path: [*:0]const u8) Text;
pub extern fn lovage_unquote(json: Text) [*:0]const u8;
pub extern fn lovage_return_json(call: *Call, json: Text) End;
pub extern fn lovage_after(call: *Call, seconds: f64) void;
pub extern fn lovage_arguments(call: *Call, json: [*:0]const u8) void;
pub extern fn lovage_end_with(call: *Call, kind: c_int, class: [*:0]const u8, file: ?[*:0]const u8, line: c_int, function: ?[*:0]const u8, format: [*:0]const u8, ...) End;
pub extern fn lovage_end_of_host_error(call: *Call, file: [*:0]const u8, line: c_int, function: [*:0]const u8) End;
pub extern fn lovage_retry_options(call: *Call, json: [*:0]const u8) void;
pub extern fn lovage_ignore(call: *Call) End;
pub extern fn lovage_replace(call: *Call, signature: [*:0]const u8) End;
pub extern fn lovage_request(call: *Call) Text;
pub extern fn lovage_send_signature(call: *Call, signature: [*:0]const u8) Text;
pub extern fn lovage_add_to_chord(call: *Call, signature: [*:0]const u8) Text;
pub extern fn lovage_attempt(call: *Call) *const Attempt;
pub extern fn lovage_soft_time_left_ms() i64;
pub extern fn lovage_revoked() bool;
pub extern fn lovage_sleep_ms(milliseconds: i64) bool;
pub extern fn lovage_step_begin(call: *Call, name: [*:0]const u8, doubt: c_int, input: [*:0]const u8) Step;
pub extern fn lovage_step_commit(call: *Call, step: *Step, value: [*:0]const u8) bool;
pub extern fn lovage_send(call: *Call, task: [*:0]const u8, args: ?[*:0]const u8, kwargs: ?[*:0]const u8, options: *const Options) ?[*:0]const u8;
pub extern fn lovage_progress(call: *Call, state: [*:0]const u8, meta: [*:0]const u8) bool;
pub extern fn lovage_log(level: c_int, fields: ?[*:0]const u8, format: [*:0]const u8, ...) void;
