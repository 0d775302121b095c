//! Tests of looking names up, against a name server on loopback.

use std::net::{Ipv4Addr, Ipv6Addr};

use hickory_resolver::proto::{
    op::{Message, ResponseCode},
    rr::{RData, Record, rdata},
};
use tempfile::TempDir;
use tokio::net::UdpSocket;

use super::*;

const FOUR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 4);
const SIX: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 6);

/// A machine's two files, and a name server.
struct Machine {
    folder: TempDir,
    names: Names,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Machine {
    /// Both families of every `both.…`, one of `four.…` and `six.…`, no answer for the IPv6 of `slow.…`, no others.
    async fn new(resolv_conf: Option<&str>, hosts: Option<&str>) -> Self {
        let folder = TempDir::with_prefix("kfbind-names-").unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let names = Names {
            resolv_conf: folder.path().join("resolv.conf"),
            hosts: folder.path().join("hosts"),
            port: socket.local_addr().unwrap().port(),
            known: Arc::default(),
        };
        let asked = Arc::default();
        tokio::spawn(answer_all(socket, Arc::clone(&asked)));
        let machine = Self { folder, names, asked };
        for (file, text) in [("resolv.conf", resolv_conf), ("hosts", hosts)] {
            if let Some(text) = text {
                machine.write(file, text);
            }
        }
        machine
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.folder.path().join(file), text).unwrap();
    }

    async fn found(&self, name: &str) -> Vec<IpAddr> {
        self.names.look_up(name).await.unwrap()
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

async fn answer_all(socket: UdpSocket, asked: Arc<Mutex<Vec<String>>>) {
    let mut bytes = [0; 2048];
    while let Ok((length, from)) = socket.recv_from(&mut bytes).await {
        let request = Message::from_vec(&bytes[..length]).unwrap();
        let query = request.queries[0].clone();
        let (name, family) = (query.name().to_utf8(), query.query_type());
        asked.lock().unwrap().push(format!("{name} {family}"));
        let first = name.split('.').next().unwrap_or_default();
        if first == "slow" && family == RecordType::AAAA {
            continue;
        }
        let data = match (first, family) {
            ("both" | "four" | "slow", RecordType::A) => Some(RData::A(rdata::A(FOUR))),
            ("both" | "six", RecordType::AAAA) => Some(RData::AAAA(rdata::AAAA(SIX))),
            _ => None,
        };
        let mut answer = request.into_response();
        if !["both", "four", "six", "slow"].contains(&first) {
            answer.metadata.response_code = ResponseCode::NXDomain;
        }
        answer.answers.extend(data.map(|data| Record::from_rdata(query.name().clone(), 60, data)));
        socket.send_to(&answer.to_vec().unwrap(), from).await.unwrap();
    }
}

#[tokio::test]
async fn the_addresses_of_both_families_come_with_ipv4_first() {
    // As systemd-resolved and Docker write it.
    for text in [
        "nameserver 127.0.0.1\noptions edns0 trust-ad\nsearch .\n",
        "# made by a container engine\nnameserver 127.0.0.1\noptions ndots:0\n",
    ] {
        let machine = Machine::new(Some(text), None).await;
        assert_eq!(
            machine.found("both.example.com").await,
            [IpAddr::from(FOUR), IpAddr::from(SIX)],
            "{text}"
        );
        assert_eq!(machine.found("four.example.com").await, [IpAddr::from(FOUR)], "{text}");
        assert_eq!(machine.found("six.example.com").await, [IpAddr::from(SIX)], "{text}");
    }
}

#[tokio::test]
async fn a_name_server_that_is_silent_about_ipv6_delays_nothing() {
    let machine = Machine::new(Some("nameserver 127.0.0.1\noptions timeout:30 attempts:5\n"), None).await;
    // Far less than one time-out of the question that nobody answers.
    let found = tokio::time::timeout(QUESTION_TIMEOUT_MAX, machine.found("slow.example.com")).await;
    assert_eq!(found.unwrap(), [IpAddr::from(FOUR)]);
}

#[tokio::test]
async fn what_stands_in_the_hosts_file_is_asked_of_nobody() {
    let hosts = "127.0.0.9 wecom.internal # ours\n::9 six.internal\nnonsense\n";
    let machine = Machine::new(None, Some(hosts)).await;
    assert_eq!(machine.found("wecom.internal").await, [IpAddr::from([127, 0, 0, 9])]);
    assert_eq!(machine.found("Six.internal").await, ["::9".parse::<IpAddr>().unwrap()]);
    assert_eq!(machine.asked(), Vec::<String>::new());
    assert_eq!(machine.found("both.internal").await.len(), 2, "others are");
}

#[tokio::test]
async fn both_files_are_read_again_when_they_change() {
    let machine = Machine::new(None, None).await;
    assert_eq!(machine.found("four.example.com").await, [IpAddr::from(FOUR)], "this machine is asked");
    machine.write("hosts", "127.0.0.7 four.example.com\n");
    assert_eq!(machine.found("four.example.com").await, [IpAddr::from([127, 0, 0, 7])]);
    machine.write("hosts", "\n");
    machine.write("resolv.conf", "search example.com\nnameserver 127.0.0.1\n");
    assert_eq!(machine.found("four").await, [IpAddr::from(FOUR)], "the list of domains is new");
}

#[tokio::test]
async fn a_name_without_addresses_says_who_was_asked_and_why() {
    let machine = Machine::new(Some("nameserver 127.0.0.1\n"), None).await;
    let error = machine.names.look_up("none.example.com").await.unwrap_err().to_string();
    assert!(error.contains("none.example.com") && error.contains("asked: 127.0.0.1)"), "{error}");
    for broken in [None, Some("# nothing\n")] {
        let machine = Machine::new(broken, None).await;
        let error = machine.names.look_up("none.example.com").await.unwrap_err().to_string();
        assert!(error.contains("resolv.conf can't be used: "), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_server_that_never_answers_is_named_before_the_connection_times_out() {
    let machine = Machine::new(Some("nameserver 127.0.0.1\noptions attempts:9\n"), None).await;
    let deaf = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let silent = Names { port: deaf.local_addr().unwrap().port(), ..machine.names.clone() };
    let looking = tokio::time::timeout(super::super::CONNECT_TIMEOUT_MAX, silent.look_up("both.example.com"));
    let error = looking.await.expect("in time for its own words").unwrap_err().to_string();
    assert!(error.contains("both.example.com") && error.contains("(asked: 127.0.0.1)"), "{error}");
}

#[tokio::test]
async fn the_client_looks_names_up_here_and_nowhere_else() {
    let error = super::super::client(Duration::from_secs(30), None)
        .unwrap()
        .get("http://nobody.invalid/")
        .send()
        .await
        .unwrap_err();
    let error = super::super::ExchangeError::from(error).to_string();
    assert!(error.contains("no address for the name nobody.invalid"), "{error}");
}
