//! Against servers in threads of the test, and against names that stand for what they should not.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use bytes::Bytes;
use lovage_core::http::{Destination, HttpError, HttpLimits, HttpRequest, HttpResponse, Network};
use lovage_core::ports::Egress as _;

use crate::Client;

mod tls;

/// What people try who want a server to talk to itself, to its neighbours or to its cloud.
const CORPUS: [&str; 58] = [
    "http://127.0.0.1/",
    "http://127.0.0.1:80/",
    "https://127.0.0.1/",
    "http://127.1/",
    "http://127.0.1/",
    "http://127.255.255.254/",
    "http://localhost/",
    "http://LOCALHOST./",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0x7f.0.0.1/",
    "http://0x7f.1/",
    "http://017700000001/",
    "http://0177.0.0.1/",
    "http://00000177.00000.00000.00001/",
    "http://127.0.0.1./",
    "http://0/",
    "http://0.0.0.0/",
    "http://0x0/",
    "http://[::]/",
    "http://[::1]/",
    "http://[0:0:0:0:0:0:0:1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://[0:0:0:0:0:ffff:127.0.0.1]/",
    "http://[::127.0.0.1]/",
    "http://[64:ff9b::127.0.0.1]/",
    "http://[64:ff9b::a9fe:a9fe]/",
    "http://[2002:7f00:1::]/",
    "http://[2001:0:7f00:1::]/",
    "http://[fe80::1]/",
    "http://[fe80::1%25lo]/",
    "http://[fc00::1]/",
    "http://[fd00:ec2::254]/latest/meta-data/",
    "http://[ff02::1]/",
    "http://10.0.0.1/",
    "http://172.16.0.1/",
    "http://172.31.255.254/",
    "http://192.168.0.1/",
    "http://100.64.0.1/",
    "http://100.100.100.200/latest/meta-data/",
    "http://169.254.169.254/latest/meta-data/",
    "http://169.254.170.2/v2/credentials",
    "http://2852039166/",
    "http://0xa9fea9fe/",
    "http://0251.0376.0251.0376/",
    "http://[::ffff:169.254.169.254]/",
    "http://168.63.129.16/metadata",
    "http://192.0.0.192/opc/v2/",
    "http://224.0.0.1/",
    "http://255.255.255.255/",
    "http://240.0.0.1/",
    "http://metadata.google.internal/computeMetadata/v1/",
    "http://127.0.0.1.nip.io/",
    "http://good.example@127.0.0.1/",
    "http://127.0.0.1\\@good.example/",
    "http://good.example#@127.0.0.1/",
    "http://127\u{3002}0\u{3002}0\u{3002}1/",
];

/// As the system has it, and without asking anybody for the names of the test.
fn lookup(name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let address = match name {
        "metadata.google.internal" => "169.254.169.254",
        "127.0.0.1.nip.io" => "127.0.0.1",
        // What is public comes first, and what is meant after it.
        "rebinding.example" => {
            let twice = ["192.168.0.1", "10.0.0.1"];
            return Ok(twice.map(|it| SocketAddr::new(it.parse().unwrap(), port)).to_vec());
        }
        "two-faced.example" => {
            let both = ["169.254.169.254", "127.0.0.1"];
            return Ok(both.map(|it| SocketAddr::new(it.parse().unwrap(), port)).to_vec());
        }
        name => return crate::connect::by_the_system(name, port),
    };
    Ok(vec![SocketAddr::new(address.parse().unwrap(), port)])
}

fn client(networks: &[&str]) -> Client {
    let networks = networks.iter().map(|it| it.parse::<Network>().unwrap()).collect();
    let client = Client::new(networks, None).unwrap();
    Client { connector: client.connector.looking_up(lookup) }
}

fn request(url: &str) -> Option<HttpRequest> {
    let (scheme, rest) = url.split_once("://").unwrap();
    let (authority, target) = rest.split_once('/').unwrap();
    Some(HttpRequest {
        method: "GET".into(),
        destination: Destination::parse(scheme == "https", authority)?,
        target: format!("/{target}"),
        headers: Vec::new(),
        body: Bytes::new(),
        limits: HttpLimits { total: Duration::from_secs(5), ..HttpLimits::default() },
    })
}

/// A server that reads a request's head on each connection and hands both to `answer`.
fn server(answer: fn(&str, &mut TcpStream) -> io::Result<()>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
                    head.extend(byte);
                }
                // Whoever has heard enough hangs up.
                let _ = answer(&String::from_utf8_lossy(&head), &mut stream);
                // Hanging up with something unread would take the answer back.
                let _ = stream.shutdown(Shutdown::Write);
                let _ = io::copy(&mut stream, &mut io::sink());
            });
        }
    });
    address
}

async fn ask(address: SocketAddr, limits: HttpLimits) -> Result<HttpResponse, HttpError> {
    let request = request(&format!("http://{address}/")).unwrap();
    client(&["127.0.0.0/8"]).send(HttpRequest { limits, ..request }).await
}

#[tokio::test]
async fn nothing_of_the_corpus_is_reached() {
    let client = client(&[]);
    for url in CORPUS {
        let Some(request) = request(url) else { continue };
        let error = client.send(request).await.unwrap_err();
        let is_stopped = matches!(error, HttpError::AddressRefused(_) | HttpError::NameUnknown(_));
        assert!(is_stopped, "{url}: {error:?}");
    }
    let stopped = CORPUS.iter().filter_map(|url| request(url)).count();
    assert!(stopped >= 50, "most of them are hosts, and none of those was let pass: {stopped}");
}

#[tokio::test]
async fn a_name_is_resolved_once_and_only_what_was_looked_at_is_connected_to() {
    let address =
        server(|_, stream| stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"));
    let url = format!("http://two-faced.example:{}/", address.port());
    let to = |url: &str| request(url).unwrap();
    let answer = client(&["127.0.0.0/8"]).send(to(&url)).await;
    assert_eq!(answer.map(|it| it.status), Ok(200), "the address that is allowed");
    let answer = client(&[]).send(to(&url)).await;
    assert_eq!(answer, Err(HttpError::AddressRefused("two-faced.example".into())));
    let answer = client(&["127.0.0.0/8"]).send(to("http://rebinding.example/")).await;
    assert_eq!(answer, Err(HttpError::AddressRefused("rebinding.example".into())));
}

#[tokio::test]
async fn a_request_says_where_it_goes_and_who_sends_it() {
    let address = server(|head, stream| {
        let length = head.len();
        write!(
            stream,
            "HTTP/1.1 200 OK\r\nconnection: close\r\nX-Kept: a\r\ncontent-length: {length}\r\n\r\n{head}"
        )
    });
    let mut request = request(&format!("http://{address}/path?a=b")).unwrap();
    request.method = "POST".into();
    request.headers = vec![("x-mine".into(), b"1".to_vec())];
    request.body = Bytes::from_static(b"abc");
    let answer = client(&["127.0.0.1"]).send(request).await.unwrap();
    let head = String::from_utf8_lossy(&answer.body).into_owned();
    assert!(head.starts_with("POST /path?a=b HTTP/1.1\r\n"), "{head}");
    for line in
        [&*format!("host: {address}"), "x-mine: 1", "content-length: 3", "user-agent: lovage/"]
    {
        assert!(head.contains(line), "{line}: {head}");
    }
    let names: Vec<_> = answer.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["x-kept", "content-length"], "what is the connection's own is left out");
}

#[tokio::test]
async fn a_redirect_is_an_answer() {
    let address = server(|_, stream| {
        stream.write_all(
            b"HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n",
        )
    });
    assert_eq!(ask(address, HttpLimits::default()).await.map(|it| it.status), Ok(302));
}

#[tokio::test]
async fn hostile_servers_get_an_error_of_their_kind() {
    let limits = HttpLimits {
        response_bytes: 1 << 20,
        total: Duration::from_secs(5),
        ..HttpLimits::default()
    };
    let said_too_large = server(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1048577\r\n\r\n")?;
        stream.read(&mut [0]).map(drop)
    });
    assert_eq!(ask(said_too_large, limits).await, Err(HttpError::ResponseTooLarge(1 << 20)));
    let endless = server(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")?;
        loop {
            stream.write_all(b"1000\r\n")?;
            stream.write_all(&[b'x'; 4096])?;
            stream.write_all(b"\r\n")?;
        }
    });
    assert_eq!(ask(endless, limits).await, Err(HttpError::ResponseTooLarge(1 << 20)));
    let long_headers = server(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n")?;
        loop {
            stream.write_all(
                b"x-filler: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n",
            )?;
        }
    });
    assert_eq!(ask(long_headers, limits).await, Err(HttpError::ResponseHeadersTooLarge));
    let cut_short =
        server(|_, stream| stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc"));
    assert_eq!(ask(cut_short, limits).await, Err(HttpError::Incomplete));
    let no_http = server(|_, stream| stream.write_all(b"SSH-2.0-OpenSSH\r\n\r\n"));
    assert_eq!(ask(no_http, limits).await, Err(HttpError::Protocol));
    let smuggler = server(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 5\r\n\r\nabcde")
    });
    assert_eq!(ask(smuggler, limits).await, Err(HttpError::Protocol));
}

#[tokio::test]
async fn a_server_that_takes_its_time_is_waited_for_that_long_and_no_longer() {
    let silent = server(|_, stream| stream.read(&mut [0]).map(drop));
    let trickle = server(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")?;
        stream.set_read_timeout(Some(Duration::from_millis(20)))?;
        while stream.read(&mut [0]).is_err() {
            stream.write_all(b"x")?;
        }
        Ok(())
    });
    let limits = HttpLimits { total: Duration::from_millis(200), ..HttpLimits::default() };
    for address in [silent, trickle] {
        let begun = Instant::now();
        assert_eq!(ask(address, limits).await, Err(HttpError::Timeout));
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn nobody_there_and_no_secrets_there_are_told_apart() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(ask(gone, HttpLimits::default()).await, Err(HttpError::Refused));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let plain = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        listener.accept().unwrap().0.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    });
    let secure = request(&format!("https://{plain}/")).unwrap();
    let error = client(&["127.0.0.1"]).send(secure).await.unwrap_err();
    assert!(matches!(error, HttpError::Insecure(_)), "{error:?}");
}

#[test]
fn authorities_that_are_none_are_refused() {
    let none =
        |pem: &[u8]| Client::new(std::iter::empty::<Network>().collect(), Some(pem)).is_err();
    assert!(none(b"") && none(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"));
}
