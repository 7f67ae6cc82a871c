//! Every route, with every scope, of one's own tenant and of another: what is foreign does not exist.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lovage_test_support::LovageCommand;
use serde_json::{Value, json};
use sha2::Digest as _;

use crate::http::Client;
use crate::modules::says;
use crate::server::Server;

const SECOND: Duration = Duration::from_secs(1);

/// A route: what it is in the generated description, what is asked here, and with which body.
struct Route {
    method: &'static str,
    named: &'static str,
    path: String,
    body: Vec<u8>,
    /// What a token must have.
    scope: &'static str,
    /// What somebody of another tenant gets: that it is not there, or something of their own.
    is_foreign: bool,
}

/// All that tenants may ask, what takes something away last.
fn routes(task: &str, message: &str) -> Vec<Route> {
    let route = |method, named: &'static str, body: Value, scope, is_foreign| Route {
        method,
        named,
        path: named
            .replace("{module}", "own")
            .replace("{version}", "live")
            .replace("{task}/schema", "own.task/schema")
            .replace("{task}", task)
            .replace("{message}", message),
        body: if body.is_null() { Vec::new() } else { body.to_string().into_bytes() },
        scope,
        is_foreign,
    };
    let read = |named, scope, is_foreign| route("GET", named, Value::Null, scope, is_foreign);
    let mut routes = vec![
        read("/v1/modules", "modules:read", false),
        read("/v1/modules/{module}", "modules:read", true),
        read("/v1/modules/{module}/versions/{version}", "modules:read", true),
        read("/v1/modules/{module}/diff", "modules:read", true),
        route("PUT", "/v1/modules/{module}", Value::Null, "modules:write", false),
        route(
            "POST",
            "/v1/modules/{module}/promote",
            json!({"version": "live"}),
            "modules:write",
            true,
        ),
        route(
            "POST",
            "/v1/modules/{module}/canary",
            json!({"percentage": 0}),
            "modules:write",
            true,
        ),
        route("POST", "/v1/modules/{module}/rollback", json!({}), "modules:write", true),
        read("/v1/tasks", "tasks:read", false),
        read("/v1/tasks/{task}", "tasks:read", true),
        read("/v1/tasks/{task}/schema", "tasks:read", true),
        read("/v1/events", "tasks:read", false),
        read("/v1/queues", "tasks:read", false),
        route("POST", "/v1/tasks/{task}/cancel", json!({}), "tasks:send", true),
        route("POST", "/v1/tasks/{task}/retry", Value::Null, "tasks:send", true),
        // A queue is named, and it is the other's.
        route(
            "POST",
            "/v1/tasks",
            json!({"task": "x", "queue": "acme.default"}),
            "tasks:send",
            true,
        ),
        read("/v1/dlq", "dlq:read", false),
        read("/v1/dlq/{message}", "dlq:read", true),
        route("POST", "/v1/dlq:replay", json!({"dry_run": true}), "dlq:write", false),
        route("POST", "/v1/dlq:purge", json!({"dry_run": true}), "dlq:write", false),
        route(
            "DELETE",
            "/v1/modules/{module}/versions/{version}",
            Value::Null,
            "modules:write",
            true,
        ),
        route("DELETE", "/v1/modules/{module}", Value::Null, "modules:write", true),
    ];
    routes.iter_mut().for_each(complete);
    routes
}

/// What is special in a few of them.
fn complete(route: &mut Route) {
    match (route.method, route.named) {
        // Under a name of its own, so that the other has no module `own` after it.
        ("PUT", _) => {
            route.path = "/v1/modules/pushed".into();
            route.body = says("p.task", "x");
        }
        (_, "/v1/modules/{module}/diff") => route.path.push_str("?to=live"),
        _ => {}
    }
}

/// All that admins may ask, in an order in which each may go well.
fn admin_routes(token: &str) -> Vec<Route> {
    let route = |method, named: &'static str, body: Value| Route {
        method,
        named,
        path: named.replace("{tenant}", "made").replace("{token}", token),
        body: if body.is_null() { Vec::new() } else { body.to_string().into_bytes() },
        scope: "admin",
        is_foreign: false,
    };
    vec![
        route("GET", "/v1/audit", Value::Null),
        route("GET", "/v1/audit/verify", Value::Null),
        route("GET", "/v1/workers", Value::Null),
        route("GET", "/v1/tenants", Value::Null),
        route("PUT", "/v1/tenants/{tenant}", json!({"queues": ["made.*"]})),
        route("GET", "/v1/tenants/{tenant}", Value::Null),
        route("GET", "/v1/tenants/{tenant}/tokens", Value::Null),
        route("POST", "/v1/tenants/{tenant}/tokens", json!({"scopes": ["tasks:read"]})),
        route("DELETE", "/v1/tenants/{tenant}/tokens/{token}", Value::Null),
        route("DELETE", "/v1/tenants/{tenant}", Value::Null),
    ]
}

/// What anybody may ask.
const OPEN: [(&str, &str); 2] = [("GET", "/healthz"), ("GET", "/readyz")];

const SCOPES: [&str; 6] =
    ["tasks:send", "tasks:read", "modules:read", "modules:write", "dlq:read", "dlq:write"];

fn ask(client: &Client, route: &Route) -> u16 {
    client.status(route.method, &route.path, &route.body)
}

#[test]
fn every_route_of_the_generated_description_is_tried_here() {
    let (code, text) = LovageCommand::new().arg("openapi").finish();
    assert_eq!(code, Some(0), "{text}");
    let description: Value = serde_json::from_str(&text).expect("JSON");
    let mut described = BTreeSet::new();
    for (path, methods) in description["paths"].as_object().expect("paths") {
        for method in methods.as_object().expect("methods").keys() {
            described.insert((method.to_uppercase(), path.clone()));
        }
    }
    let (tenants, admins) = (routes("", ""), admin_routes(""));
    let tried = tenants.iter().chain(&admins).map(|it| (it.method, it.named)).chain(OPEN);
    let tried: BTreeSet<_> =
        tried.map(|(method, path)| (method.to_owned(), path.to_owned())).collect();
    assert_eq!(tried, described);
}

#[test]
fn what_is_foreign_does_not_exist_and_a_scope_is_for_one_thing() {
    let server = Server::start();
    let acme = server.tenant("acme");
    acme.push("own", &says("own.task", "own")).ok();
    let done = acme.post("/v1/tasks?wait=30", &json!({ "task": "own.task" })).ok();
    let task = done["id"].as_str().expect("an id");
    acme.post("/v1/tasks", &json!({ "task": "nobody.knows" })).ok();
    let message = loop {
        let list = acme.get("/v1/dlq").ok();
        if let Some(id) = list["messages"][0]["id"].as_str() {
            break id.to_owned();
        }
    };
    let routes = routes(task, &message);
    for scope in SCOPES {
        let own = server.public.with(&server.token("acme", &[scope]));
        let foreign = server.public.with(&server.token("beta", &[scope]));
        for route in &routes {
            let what = format!("{} {} with {scope}", route.method, route.path);
            let (mine, theirs) = (ask(&own, route), ask(&foreign, route));
            if scope == route.scope {
                assert!(![401, 403, 404].contains(&mine) && mine < 500, "{what}: {mine}");
                let is_right = if route.is_foreign { theirs == 404 } else { theirs / 100 == 2 };
                assert!(is_right, "foreign {what}: {theirs}");
            } else {
                assert_eq!((mine, theirs), (403, 403), "{what}");
            }
        }
    }
    let shown = server.tenant("beta").get("/v1/dlq").ok();
    assert_eq!(shown["messages"], json!([]), "beta sees none of acme's");
}

#[test]
fn what_admins_may_do_no_other_scope_allows_and_the_public_listener_does_not_have() {
    let server = Server::start();
    let made = json!({"queues": ["made.*"]});
    server.admin.ask("PUT", "/v1/tenants/made", Some(&made)).ok();
    let token = server.token("made", &["tasks:read"]);
    let routes = admin_routes(token.split('_').nth(1).expect("an id"));
    for scope in SCOPES {
        let token = server.token("acme", &[scope]);
        for route in &routes {
            let what = format!("{} {} with {scope}", route.method, route.path);
            assert_eq!(ask(&server.admin.with(&token), route), 403, "{what}");
            assert_eq!(ask(&server.public.with(&token), route), 404, "{what} is not public");
        }
    }
    for route in &routes {
        assert_eq!(ask(&server.admin.with("lvg_0_0"), route), 401, "{}", route.path);
        assert_eq!(ask(&server.public, route), 404, "{} is not public", route.path);
        let status = ask(&server.admin, route);
        assert_eq!(status / 100, 2, "{} {}: {status}", route.method, route.path);
    }
    for (method, path) in OPEN {
        assert_eq!(server.public.with("").status(method, path, b""), 200, "{path}");
    }
}

#[test]
fn without_a_good_token_every_route_says_the_same() {
    let server = Server::start();
    let token = server.token("acme", &["tasks:read"]);
    let (id, secret) = token.trim_start_matches("lvg_").split_once('_').expect("a token");
    let stored = hex::encode(sha2::Sha256::digest(secret));
    for bad in ["", "x", "lvg_", &format!("lvg_{id}_x"), &format!("lvg_{id}_{stored}"), "lvg_0_0"] {
        let answer = server.public.with(bad).get("/v1/tasks");
        assert_eq!((answer.status, answer.code()), (401, "token-invalid"), "{bad}");
        assert_eq!(server.admin.with(bad).get("/v1/tenants").status, 401, "{bad}");
    }
    // What is stored has the hash and not the secret.
    let file = std::fs::read(server.folder.path().join(".lovage/registry/lovage.db-wal"));
    let file = [
        file.unwrap_or_default(),
        std::fs::read(server.folder.path().join(".lovage/registry/lovage.db"))
            .expect("the records"),
    ]
    .concat();
    let holds = |text: &str| file.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds(&stored) && !holds(secret));
}

#[test]
fn a_revoked_token_ends_at_once_and_an_admin_is_of_the_default_tenant() {
    let server = Server::start();
    let token = server.token("acme", &["tasks:read"]);
    let acme = server.public.with(&token);
    assert_eq!(acme.get("/v1/tasks").status, 200);
    let id = token.split('_').nth(1).expect("an id");
    let path = format!("/v1/tenants/beta/tokens/{id}");
    assert_eq!(server.admin.ask("DELETE", &path, None).status, 404, "it is not beta's");
    let path = format!("/v1/tenants/acme/tokens/{id}");
    assert_eq!(server.admin.ask("DELETE", &path, None).status, 204);
    assert_eq!(acme.get("/v1/tasks").status, 401);
    let wish = json!({ "scopes": ["admin"] });
    assert_eq!(server.admin.post("/v1/tenants/acme/tokens", &wish).status, 400);
}

#[test]
fn a_token_ends_when_its_time_is_over() {
    let server = Server::start();
    let token = server.token("acme", &["tasks:read"]);
    let acme = server.public.with(&token);
    assert_eq!(acme.get("/v1/tasks").status, 200);
    let file = server.folder.path().join(".lovage/registry/lovage.db");
    let file = rusqlite::Connection::open(file).expect("the records");
    file.busy_timeout(lovage_test_support::PATIENCE).expect("a time");
    let end = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock") + SECOND / 2;
    let micros = i64::try_from(end.as_micros()).expect("a moment");
    let id = token.split('_').nth(1).expect("an id");
    let sooner = "UPDATE token SET expires_at = ?1 WHERE id = ?2";
    assert_eq!(file.execute(sooner, (micros, id)).expect("a change"), 1);
    let begun = Instant::now();
    while acme.get("/v1/tasks").status == 200 {
        assert!(begun.elapsed() < SECOND * 5, "it is good for ever");
        // Sleeps because a caller has only so many requests a second.
        thread::sleep(SECOND / 100);
    }
    assert!(begun.elapsed() > SECOND / 4, "it was good until then");
    let answer = acme.get("/v1/tasks");
    assert_eq!((answer.status, answer.code()), (401, "token-invalid"));
}

#[test]
fn a_tenant_comes_and_goes_while_the_host_serves() {
    let server = Server::on_redis();
    let wish = json!({ "queues": ["gamma.*"], "quotas": { "modules": 1 } });
    server.admin.ask("PUT", "/v1/tenants/gamma", Some(&wish)).ok();
    let gamma = server.tenant("gamma");
    gamma.push("one", &says("g.one", "x")).ok();
    let call = gamma.post("/v1/tasks?wait=30", &json!({ "task": "g.one" })).ok();
    assert_eq!(call["result"], "x", "{call}");
    let over = gamma.push("two", &says("g.two", "x"));
    assert_eq!((over.status, over.code()), (403, "quota-exceeded"));
    let shared = json!({ "queues": ["acme.*"] });
    let refused = server.admin.ask("PUT", "/v1/tenants/delta", Some(&shared));
    assert_eq!((refused.status, refused.code()), (409, "tenant-conflict"));
    let fixed = server.admin.ask("PUT", "/v1/tenants/acme", Some(&wish));
    assert_eq!(fixed.code(), "tenant-configured");
    assert_eq!(server.admin.ask("DELETE", "/v1/tenants/gamma", None).code(), "version-in-use");
    assert_eq!(gamma.ask("DELETE", "/v1/modules/one?force=true", None).status, 204);
    assert_eq!(server.admin.ask("DELETE", "/v1/tenants/gamma", None).status, 204);
    assert_eq!(gamma.get("/v1/modules").status, 401, "its tokens went with it");
}
