//! Every route, with every scope, of one's own tenant and of another: what is foreign does not exist.

use serde_json::{Value, json};
use sha2::Digest as _;

use crate::http::Client;
use crate::modules::says;
use crate::server::Server;

/// The routes of tenants: method, path, body, the scope it needs, and whether it names a thing.
fn routes(
    task: &str,
    message: &str,
) -> Vec<(&'static str, String, Option<Value>, &'static str, bool)> {
    let at = |path: &str| path.to_owned();
    vec![
        ("GET", at("/v1/modules"), None, "modules:read", false),
        ("GET", at("/v1/modules/own"), None, "modules:read", true),
        ("GET", at("/v1/modules/own/versions/live"), None, "modules:read", true),
        ("GET", at("/v1/modules/own/diff?to=live"), None, "modules:read", true),
        (
            "POST",
            at("/v1/modules/own/promote"),
            Some(json!({"version": "live"})),
            "modules:write",
            true,
        ),
        (
            "POST",
            at("/v1/modules/own/canary"),
            Some(json!({"percentage": 0})),
            "modules:write",
            true,
        ),
        ("POST", at("/v1/modules/own/rollback"), Some(json!({})), "modules:write", true),
        ("GET", at("/v1/tasks"), None, "tasks:read", false),
        ("GET", format!("/v1/tasks/{task}"), None, "tasks:read", true),
        ("GET", at("/v1/tasks/own.task/schema"), None, "tasks:read", true),
        ("POST", format!("/v1/tasks/{task}/cancel"), Some(json!({})), "tasks:send", true),
        ("POST", format!("/v1/tasks/{task}/retry"), None, "tasks:send", true),
        (
            "POST",
            at("/v1/tasks"),
            Some(json!({"task": "x", "queue": "acme.default"})),
            "tasks:send",
            true,
        ),
        ("GET", at("/v1/dlq"), None, "dlq:read", false),
        ("GET", format!("/v1/dlq/{message}"), None, "dlq:read", true),
        ("POST", at("/v1/dlq:replay"), Some(json!({"dry_run": true})), "dlq:write", false),
        ("POST", at("/v1/dlq:purge"), Some(json!({"dry_run": true})), "dlq:write", false),
        ("GET", at("/v1/queues"), None, "tasks:read", false),
        ("DELETE", at("/v1/modules/own/versions/live"), None, "modules:write", true),
        ("DELETE", at("/v1/modules/own"), None, "modules:write", true),
    ]
}

const SCOPES: [&str; 6] =
    ["tasks:send", "tasks:read", "modules:read", "modules:write", "dlq:read", "dlq:write"];

fn ask(client: &Client, route: &(&'static str, String, Option<Value>, &'static str, bool)) -> u16 {
    client.ask(route.0, &route.1, route.2.as_ref()).status
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
            let what = format!("{} {} with {scope}", route.0, route.1);
            let (mine, theirs) = (ask(&own, route), ask(&foreign, route));
            if scope == route.3 {
                assert!(![401, 403, 404].contains(&mine), "{what}: {mine}");
                assert!(theirs == if route.4 { 404 } else { 200 }, "foreign {what}: {theirs}");
            } else {
                assert_eq!((mine, theirs), (403, 403), "{what}");
            }
        }
    }
    let shown = server.tenant("beta").get("/v1/dlq").ok();
    assert_eq!(shown["messages"], json!([]), "beta sees none of acme's");
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
fn what_admins_do_is_on_their_listener_and_for_admins_only() {
    let server = Server::on_redis();
    let acme = server.tenant("acme");
    let routes = [
        "/v1/tenants",
        "/v1/tenants/acme",
        "/v1/tenants/acme/tokens",
        "/v1/audit",
        "/v1/audit/verify",
        "/v1/workers",
    ];
    for path in routes {
        assert_eq!(server.public.get(path).status, 404, "{path} is not public");
        let there = Client { url: server.admin.url.clone(), ..acme.clone() };
        assert_eq!(there.get(path).status, 403, "{path} is for admins");
        assert_eq!(server.admin.get(path).status, 200, "{path}");
    }
    // A tenant that is made while the host serves.
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
