//! The audit log, and what happens when somebody alters it, or the bytes of a module.

use std::fs;

use lovage_test_support::LovageCommand;
use serde_json::json;

use crate::modules::says;
use crate::server::Server;

#[test]
fn every_change_is_a_row_and_an_altered_row_is_found() {
    let server = Server::start();
    let acme = server.tenant("acme");
    acme.push("a", &says("a.task", "one")).ok();
    acme.push("a", &says("a.task", "two")).ok();
    acme.post("/v1/modules/a/rollback", &json!({})).ok();
    assert_eq!(acme.push("bad", b"no module").status, 422);
    let rows = server.admin.get("/v1/audit").ok();
    let actions: Vec<_> =
        rows["rows"].as_array().expect("rows").iter().map(|row| row["action"].as_str()).collect();
    let expected = [
        "token.add",
        "token.add",
        "module.push",
        "module.push",
        "module.rollback",
        "module.refuse",
    ];
    assert_eq!(actions, expected.map(Some));
    let verify = |url: &str| {
        let arguments = ["audit", "verify", "--url", url];
        LovageCommand::new().args(arguments).folder(server.folder.path()).finish()
    };
    let (code, output) = verify(&server.admin.url);
    assert_eq!(code, Some(0), "{output}");
    let file = server.folder.path().join(".lovage/registry/lovage.db");
    let file = rusqlite::Connection::open(file).expect("the records");
    file.busy_timeout(lovage_test_support::PATIENCE).expect("a time");
    file.execute("UPDATE audit SET actor = 'nobody' WHERE number = 4", []).expect("a change");
    let (code, output) = verify(&server.admin.url);
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains("row 4"), "{output}");
}

#[test]
fn a_flipped_byte_is_not_run_and_what_answered_goes_on() {
    let server = Server::start();
    let acme = server.tenant("acme");
    acme.push("a", &says("a.task", "one")).ok();
    let call =
        || acme.post("/v1/tasks?wait=30", &json!({ "task": "a.task" })).ok()["result"].clone();
    assert_eq!(call(), "one");
    let stored = acme.push("a?channel=none", &says("a.task", "two")).ok();
    let digest = stored["versions"][1]["digest"].as_str().expect("a digest").to_owned();
    let path = format!(".lovage/registry/tenants/acme/modules/{digest}.wasm");
    let path = server.folder.path().join(path);
    let mut bytes = fs::read(&path).expect("the bytes");
    let place = bytes.windows(3).position(|window| window == b"two").expect("its text");
    bytes[place] = b'T';
    fs::write(&path, bytes).expect("a change");
    acme.post("/v1/modules/a/promote", &json!({ "version": digest })).ok();
    loop {
        let rows = server.admin.get("/v1/audit").ok();
        let told = rows["rows"].as_array().expect("rows").iter().any(|row| {
            row["action"] == "module.load-failed"
                && row["detail"].as_str().is_some_and(|it| it.contains(&digest))
        });
        if told {
            break;
        }
    }
    assert_eq!(call(), "one");
}
