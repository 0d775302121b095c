//! Pairs made on the spot, good and bad, and what becomes of them when they change.

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use tempfile::TempDir;

use super::*;

const NOW: Timestamp = Timestamp(1_750_000_000); // 2025-06-15

/// A folder with a pair in it.
struct Folder {
    _folder: TempDir,
    files: PairFiles,
}

impl Folder {
    fn new((cert, key): &(String, String)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files = PairFiles { cert: folder.path().join("c.pem"), key: folder.path().join("k.pem") };
        let new = Self { _folder: folder, files };
        new.hold(cert, key);
        new
    }

    fn hold(&self, cert: &str, key: &str) {
        fs::write(&self.files.cert, cert).unwrap();
        fs::write(&self.files.key, key).unwrap();
        fs::set_permissions(&self.files.key, fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn judged(&self) -> Judged {
        judge(&self.files, NOW)
    }
}

fn pair_with(change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    change(&mut params);
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

fn pair() -> (String, String) {
    pair_with(|_| ())
}

fn until(year: i32, month: u8, day: u8) -> (String, String) {
    pair_with(|params| params.not_after = date_time_ymd(year, month, day))
}

#[test]
fn a_good_pair_has_nothing_to_be_said_of_it() {
    let authority = pair_with(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    for pair in [pair(), authority] {
        let judged = Folder::new(&pair).judged();
        assert!(judged.problems.is_empty() && judged.notes.is_empty(), "{judged:?}");
    }
}

#[test]
fn what_can_not_be_used_is_named_by_key_and_file_and_not_quoted() {
    let ((cert, key), (other_cert, other_key)) = (pair(), pair());
    let broken_key = key.replacen("-----BEGIN PRIVATE KEY-----\n", "-----BEGIN PRIVATE KEY-----\n!!", 1);
    let encrypted = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    let long = "a".repeat(usize::try_from(FILE_BYTES_MAX).unwrap() + 1);
    for (cert, key, wanted_key, words) in [
        ("", key.as_str(), CERT, "no certificate"),
        ("garbage", &key, CERT, "no certificate"),
        (&long, &key, CERT, "more than"),
        (&key, &cert, CERT, "no certificate"),
        (&cert, "", KEY, "no private key"),
        (&cert, &other_cert, KEY, "a certificate and no private key"),
        (&cert, &broken_key, KEY, "no private key"),
        (&cert, &encrypted, KEY, "encrypted"),
        (&cert, &other_key, KEY, "is not the key"),
        (&format!("{other_cert}{cert}"), &key, CERT, "not the first"),
        (
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            &key,
            CERT,
            "none that TLS can use",
        ),
    ] {
        let folder = Folder::new(&(cert.to_owned(), key.to_owned()));
        let judged = folder.judged();
        let [problem] = &judged.problems[..] else { panic!("{words}: {judged:?}") };
        assert_eq!(problem.key, wanted_key, "{problem}");
        let file = if wanted_key == CERT { &folder.files.cert } else { &folder.files.key };
        assert!(problem.what.contains(words) && problem.what.contains(file.to_str().unwrap()), "{problem}");
        let told = problem.to_string();
        let is_secret = |line: &str| line.len() > 20 && !line.starts_with("-----");
        let quotes = |text: &str| text.lines().any(|line| is_secret(line) && told.contains(line));
        assert!(!quotes(key) && !quotes(cert), "{problem}");
        assert!(Certificates::open(folder.files.clone(), NOW).is_err());
    }
}

#[test]
fn what_is_no_file_is_not_waited_for() {
    let folder = Folder::new(&pair());
    fs::remove_file(&folder.files.key).unwrap();
    let missing = folder.judged().problems;
    assert!(missing[0].key == KEY && missing[0].what.contains("can't be read"), "{missing:?}");
    fs::create_dir(&folder.files.key).unwrap();
    let directory = folder.judged().problems;
    assert!(directory[0].what.contains("no file"), "{directory:?}");
}

#[test]
fn a_certificate_is_named_when_it_has_expired_or_soon_will_or_is_not_valid_yet() {
    for (day, problems, notes) in [(14, 1, 0), (16, 0, 1), (28, 0, 1), (30, 0, 0)] {
        let judged = Folder::new(&until(2025, 6, day)).judged();
        assert_eq!((judged.problems.len(), judged.notes.len()), (problems, notes), "{day}: {judged:?}");
        let said = judged.problems.iter().chain(&judged.notes);
        assert!(said.into_iter().all(|one| one.key == CERT && one.what.contains("2025-06-")), "{judged:?}");
    }
    let early = pair_with(|params| params.not_before = date_time_ymd(2025, 6, 16));
    let judged = Folder::new(&early).judged();
    assert!(judged.problems[0].what.contains("not valid before 2025-06-16"), "{judged:?}");
}

#[test]
fn what_stands_behind_the_servers_own_certificate_does_not_shorten_its_life() {
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::<String>::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.not_after = date_time_ymd(2025, 1, 1);
    let authority_cert = authority.self_signed(&authority_key).unwrap();
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let own = params.signed_by(&key, &issuer).unwrap();
    let chain = format!("{}{}", own.pem(), authority_cert.pem());
    let judged = Folder::new(&(chain, key.serialize_pem())).judged();
    assert!(judged.problems.is_empty(), "clients pass over roots of old that are sent along: {judged:?}");
}

#[test]
fn a_key_that_everybody_can_read_is_noted() {
    let folder = Folder::new(&pair());
    fs::set_permissions(&folder.files.key, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(folder.judged().notes.is_empty(), "a group of one's own is no mistake");
    fs::set_permissions(&folder.files.key, fs::Permissions::from_mode(0o644)).unwrap();
    let notes = folder.judged().notes;
    assert!(notes[0].key == KEY && notes[0].fix.contains("chmod o="), "{notes:?}");
}

/// What is in force after looking so many times.
fn looked(certificates: &Certificates, times: usize) -> (Arc<ServerConfig>, Vec<Finding>) {
    for _ in 0..times {
        certificates.look(NOW);
    }
    (certificates.config(), certificates.problems(NOW))
}

#[test]
fn a_new_pair_is_taken_at_once_and_one_that_stays_broken_is_refused() {
    let (first, second) = (pair(), pair());
    let folder = Folder::new(&first);
    let certificates = Certificates::open(folder.files.clone(), NOW).unwrap();
    let (start, problems) = looked(&certificates, 3);
    assert!(problems.is_empty());

    // Whoever renews writes one file after the other.
    folder.hold(&second.0, &first.1);
    let (half_way, problems) = looked(&certificates, 1);
    assert!(Arc::ptr_eq(&half_way, &start) && problems.is_empty());
    folder.hold(&second.0, &second.1);
    let (renewed, problems) = looked(&certificates, 1);
    assert!(!Arc::ptr_eq(&renewed, &start) && problems.is_empty());

    for (cert, key, words) in
        [("garbage", second.1.as_str(), "no certificate"), (&second.0, &first.1, "is not the key")]
    {
        folder.hold(cert, key);
        let (kept, problems) = looked(&certificates, 2);
        assert!(Arc::ptr_eq(&kept, &renewed));
        assert!(problems.len() == 1 && problems[0].what.contains(words), "{problems:?}");
    }
    fs::remove_file(&folder.files.cert).unwrap();
    assert!(looked(&certificates, 2).1[0].what.contains("can't be read"));

    folder.hold(&second.0, &second.1);
    assert!(looked(&certificates, 1).1.is_empty(), "the pair in force was put back");
}

#[test]
fn an_expired_pair_takes_no_good_ones_place_and_gives_way_to_any() {
    let (good, expired) = (pair(), until(2025, 6, 14));
    let folder = Folder::new(&good);
    let certificates = Certificates::open(folder.files.clone(), NOW).unwrap();
    let start = certificates.config();
    folder.hold(&expired.0, &expired.1);
    let (kept, problems) = looked(&certificates, 2);
    assert!(Arc::ptr_eq(&kept, &start) && problems[0].what.contains("expired"), "{problems:?}");

    let folder = Folder::new(&expired);
    let certificates = Certificates::open(folder.files.clone(), NOW).unwrap();
    assert!(looked(&certificates, 1).1[0].what.contains("expired"), "better than nothing, and said");
    folder.hold(&good.0, &good.1);
    assert!(looked(&certificates, 1).1.is_empty());
}
