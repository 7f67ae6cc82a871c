//! What a server has to be ill-treated for, or set up otherwise: one for these tests alone.

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, PoisonError, Weak};
use std::time::{Duration, Instant};

use lovage_brokers::amqp::{AmqpAddress, AmqpBroker, AmqpBrokerOptions};
use lovage_conformance::LONG_LEASE;
use lovage_conformance::broker::{acknowledge, bytes_of, publication, receive_exactly};
use lovage_core::ports::Broker as _;
use lovage_test_support::{RabbitServer, free_port};
use tempfile::TempDir;
use tokio::sync::Mutex;

use crate::alone::{Any, receive_at_last};
use crate::rig::{InSqlite, MachineClock, Store as _};

/// A server that a test may stop, and how it is reached with encryption.
struct Own {
    server: Option<RabbitServer>,
    encrypted_port: u16,
    certificates: TempDir,
}

impl Own {
    fn start() -> Self {
        let certificates = TempDir::new().unwrap();
        certify(certificates.path());
        let encrypted_port = free_port();
        let file = |name: &str| certificates.path().join(name).display().to_string();
        let settings = [
            format!("listeners.ssl.1 = 127.0.0.1:{encrypted_port}"),
            format!("ssl_options.cacertfile = {}", file("authority.pem")),
            format!("ssl_options.certfile = {}", file("server.pem")),
            format!("ssl_options.keyfile = {}", file("server.key")),
        ];
        let server = RabbitServer::with(&settings.each_ref().map(String::as_str));
        Self { server: Some(server), encrypted_port, certificates }
    }

    fn server(&self) -> &RabbitServer {
        self.server.as_ref().unwrap()
    }

    /// Does something that takes a while with the server.
    async fn with(&mut self, change: impl FnOnce(&mut RabbitServer) + Send + 'static) {
        let mut server = self.server.take().unwrap();
        let changed = tokio::task::spawn_blocking(move || {
            change(&mut server);
            server
        });
        self.server = Some(changed.await.unwrap());
    }
}

/// The server of those of these tests that run at the moment; it goes with the last of them.
async fn own() -> Arc<Mutex<Own>> {
    static SERVER: std::sync::Mutex<Weak<Mutex<Own>>> = std::sync::Mutex::new(Weak::new());
    let started = tokio::task::spawn_blocking(|| {
        let mut shared = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let own = Arc::new(Mutex::new(Own::start()));
            *shared = Arc::downgrade(&own);
            own
        })
    });
    started.await.unwrap()
}

/// Makes an authority, and a certificate of it for 127.0.0.1.
fn certify(folder: &Path) {
    let openssl = |words: &str| {
        let mut command = Command::new("openssl");
        command.current_dir(folder).args(words.split(' '));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(&format!(
        "req -x509 {key} -keyout authority.key -out authority.pem -subj /CN=authority -days 2"
    ));
    openssl(&format!("req {key} -keyout server.key -out server.csr -subj /CN=localhost"));
    let names = "basicConstraints=CA:FALSE\nsubjectAltName=IP:127.0.0.1,DNS:localhost\n";
    std::fs::write(folder.join("names"), names).unwrap();
    openssl(
        "x509 -req -in server.csr -CA authority.pem -CAkey authority.key -CAcreateserial \
         -out server.pem -days 2 -extfile names",
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_and_comes_back_has_lost_nothing() {
    let own = own().await;
    let mut own = own.lock().await;
    let rig = Any::on(own.server().url(), InSqlite::start().await).await;
    let session = rig.session_with(Duration::from_secs(30), 1).await;
    session.publish(&[publication(1, None), publication(2, None)]).await.unwrap();
    let held = receive_exactly(&session, 1).await;
    own.with(RabbitServer::restart).await;
    let first = receive_at_last(&session, LONG_LEASE).await;
    assert_eq!((bytes_of(&first), first.redelivered), (bytes_of(&held[0]), true));
    assert_ne!(first.receipt, held[0].receipt);
    acknowledge(&session, &held).await;
    acknowledge(&session, &[first]).await;
    let second = receive_at_last(&session, LONG_LEASE).await;
    assert!(String::from_utf8_lossy(bytes_of(&second)).contains("[[2, 2]"));
    session.publish(&[publication(3, None)]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_server_has_no_memory_or_disk_left_work_ends_and_what_leaves_waits() {
    let own = own().await;
    let mut own = own.lock().await;
    let rig = Any::on(own.server().url(), InSqlite::start().await).await;
    let session = rig.session_with(LONG_LEASE, 4).await;
    for (ill, well) in [
        (
            ["set_vm_memory_high_watermark", "absolute", "1"].as_slice(),
            &["set_vm_memory_high_watermark", "0.6"],
        ),
        (&["set_disk_free_limit", "999999GB"], &["set_disk_free_limit", "1MB"]),
    ] {
        session.publish(&[publication(1, None)]).await.unwrap();
        own.with(|server| drop(server.control(ill))).await;
        let second = [publication(2, None)];
        let late = session.publish(&second);
        let mut late = std::pin::pin!(late);
        let waits = tokio::time::timeout(Duration::from_secs(1), &mut late).await;
        assert!(waits.is_err(), "{ill:?} raised no alarm");
        let got = receive_exactly(&session, 1).await;
        acknowledge(&session, &got).await;
        assert_eq!(session.renew().await.unwrap(), [], "what is held stays ours");
        own.with(|server| drop(server.control(well))).await;
        late.await.unwrap();
        let got = receive_exactly(&session, 1).await;
        assert!(String::from_utf8_lossy(bytes_of(&got[0])).contains("[[2, 2]"));
        acknowledge(&session, &got).await;
    }
    let (_, waiting) = session.waiting().await.unwrap().remove(0);
    assert_eq!(waiting, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_encrypted_server_is_spoken_to_if_its_certificate_is_trusted() {
    let own = own().await;
    let own = own.lock().await;
    let plain = own.server().url();
    let (_, host) = plain.rsplit_once('/').unwrap();
    let authority = own.certificates.path().join("authority.pem");
    let url = format!("amqps://guest:guest@127.0.0.1:{}/{host}", own.encrypted_port);
    let session = async |url: &str| {
        let address = AmqpAddress::parse(url).unwrap();
        let options = AmqpBrokerOptions::new(address, vec!["celery".into()]).unwrap();
        let custody = InSqlite::start().await.custody().await;
        AmqpBroker::new(options, custody, Arc::new(MachineClock))
    };
    let trusting = session(&format!("{url}?ssl_ca_certs={}", authority.display())).await;
    trusting.publish(&[publication(1, None)]).await.unwrap();
    let got = receive_exactly(&trusting, 1).await;
    acknowledge(&trusting, &got).await;
    let begun = Instant::now();
    let refused = session(&url).await.receive(1, Duration::ZERO).await.unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(5), "{refused}");
}
