//! Floor 1, certificates: tests of the CA, and of the files in which it is kept.

use std::fs;
use std::time::SystemTime;

use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

use super::{Scratch, mode, names, self_signed, set_mode};
use crate::certificates::{
    Authority, Certificates, DAY, Fault, Names, Places, Remark, instructions,
};

fn find(
    places: &Places,
    names: &Names,
    now: SystemTime,
) -> (Result<Authority, Fault>, Vec<Remark>) {
    let mut remarks = Vec::new();
    let found = Authority::find_or_make(places, names, now, &mut remarks);
    (found, remarks)
}

/// The CA that is found without a remark.
fn found(places: &Places, now: SystemTime) -> Authority {
    let (found, remarks) = find(places, &names(&[]), now);
    assert_eq!(remarks, []);
    found.expect("a CA")
}

#[test]
fn a_ca_is_made_once_and_found_from_then_on() {
    let (scratch, now) = (Scratch::new(), SystemTime::now());
    let places = scratch.places();
    let first = found(&places, now);
    assert!(first.is_new() && !first.is_of_mkcert());
    let second = found(&places, now + 400 * DAY);
    assert!(!second.is_new());
    assert_eq!(first.der(), second.der());
    assert_eq!(second.path(), scratch.join("data/oneloop/ca.crt"));

    // Nothing is left of the way to the files.
    let entries = fs::read_dir(&places.own).expect("it was made");
    let mut entries: Vec<_> = entries
        .map(|entry| entry.expect("it is read").file_name())
        .collect();
    entries.sort();
    assert_eq!(entries, ["ca.crt", "ca.pem"]);
    assert_eq!(mode(&places.own), 0o700);
    assert_eq!(mode(&places.own.join("ca.pem")), 0o600);
    let copy = fs::read_to_string(second.path()).expect("it was written");
    assert_eq!(copy, second.pem());
    assert!(!copy.contains("PRIVATE"));
}

#[test]
fn a_copy_of_the_certificate_that_is_lost_or_changed_is_written_again() {
    let (scratch, now) = (Scratch::new(), SystemTime::now());
    let places = scratch.places();
    let first = found(&places, now);
    for change in ["", "nonsense"] {
        let path = scratch.write("data/oneloop/ca.crt", change);
        if change.is_empty() {
            fs::remove_file(&path).expect("it is there");
        }
        found(&places, now);
        assert_eq!(fs::read_to_string(&path).expect("it is there"), first.pem());
    }
}

#[test]
fn the_ca_lasts_ten_years_and_may_sign_no_other_ca() {
    let (scratch, now) = (Scratch::new(), SystemTime::now());
    let made = found(&scratch.places(), now);
    let (_, certificate) = X509Certificate::from_der(made.der()).expect("a certificate");
    let basic = certificate.basic_constraints().expect("one").expect("one");
    assert!(basic.critical && basic.value.ca);
    assert_eq!(basic.value.path_len_constraint, Some(0));
    let usage = certificate.key_usage().expect("one").expect("one");
    assert!(usage.value.key_cert_sign() && !usage.value.digital_signature());
    let constraints = certificate.name_constraints().expect("one").expect("one");
    assert!(constraints.critical);
    let years = made.facts().ends.duration_since(now).expect("later");
    assert_eq!(years.as_secs() / DAY.as_secs(), 3_651);
    assert!(made.facts().begins <= now - DAY);
}

#[test]
fn the_ca_may_sign_for_this_machine_and_the_local_network_alone() {
    let (scratch, now) = (Scratch::new(), SystemTime::now());
    let hosts = names(&["app.test", ".example.org", "203.0.113.7", "*"]);
    let (made, _) = find(&scratch.places(), &hosts, now);
    let made = made.expect("a CA");
    let constraints = &made.facts().constraints;
    for (name, may_sign) in [
        ("localhost", true),
        ("app.localhost", true),
        ("printer.local", true),
        ("box", true),
        ("box.local", true),
        ("app.test", true),
        ("example.org", true),
        ("www.example.org", true),
        ("notexample.org", false),
        ("other.test", false),
        ("example.com", false),
        ("xlocalhost", false),
        ("org", false),
    ] {
        assert_eq!(constraints.allow_name(name), may_sign, "{name}");
    }
    for (ip, may_sign) in [
        ("127.0.0.1", true),
        ("127.1.2.3", true),
        ("10.255.0.1", true),
        ("172.16.0.1", true),
        ("172.31.255.255", true),
        ("172.32.0.1", false),
        ("192.168.1.20", true),
        ("192.169.0.1", false),
        ("169.254.3.4", true),
        ("100.64.0.1", true),
        ("100.128.0.1", false),
        ("203.0.113.7", true),
        ("203.0.113.8", false),
        ("8.8.8.8", false),
        ("::1", true),
        ("::2", false),
        ("fd00::1", true),
        ("fe80::1", true),
        ("2001:db8::1", false),
    ] {
        let address = ip.parse().expect("an address");
        assert_eq!(constraints.allow_address(address), may_sign, "{ip}");
    }
}

#[test]
fn a_key_that_other_users_can_read_is_refused() {
    let (scratch, now) = (Scratch::new(), SystemTime::now());
    let places = scratch.places();
    found(&places, now);
    let path = places.own.join("ca.pem");
    for shared in [0o640, 0o604, 0o660] {
        set_mode(&path, shared);
        let fault = find(&places, &names(&[]), now)
            .0
            .expect_err("it is refused");
        assert_eq!(fault.path, path);
        assert!(
            fault.text.contains("other users can read"),
            "{}",
            fault.text
        );
        assert!(fault.text.contains("chmod 600"), "{}", fault.text);
    }
    set_mode(&path, 0o600);
    found(&places, now);
    set_mode(&places.own, 0o770);
    let fault = find(&places, &names(&[]), now)
        .0
        .expect_err("it is refused");
    assert_eq!(fault.path, places.own);
    assert!(fault.text.contains("chmod 700"), "{}", fault.text);
}

#[test]
fn a_directory_that_cannot_be_made_is_an_error_with_the_next_step() {
    let (scratch, now) = (Scratch::new(), SystemTime::now());
    scratch.write("data", "a file in the place of the directory");
    let fault = find(&scratch.places(), &names(&[]), now).0.expect_err("no");
    assert!(fault.text.contains("XDG_DATA_HOME"), "{}", fault.text);
}

#[test]
fn a_ca_that_cannot_be_used_is_made_anew_and_the_user_is_told_once() {
    let now = SystemTime::now();
    let (certificate, _) = self_signed(true, now, now + 9 * DAY);
    let (_, other_key) = self_signed(true, now, now + 9 * DAY);
    let (leaf, leaf_key) = self_signed(false, now, now + 9 * DAY);
    let (old, old_key) = self_signed(true, now - 90 * DAY, now - DAY);
    for (content, reason) in [
        (String::new(), "no certificate"),
        ("-----BEGIN CERT".into(), "no certificate"),
        (certificate.clone(), "private key cannot be read"),
        (format!("{other_key}{certificate}"), "another certificate"),
        (format!("{leaf_key}{leaf}"), "not that of a CA"),
        (format!("{old_key}{old}"), "expired on"),
    ] {
        let scratch = Scratch::new();
        let places = scratch.places();
        let path = scratch.write("data/oneloop/ca.pem", &content);
        set_mode(&places.own, 0o700);
        set_mode(&path, 0o600);
        let (made, remarks) = find(&places, &names(&[]), now);
        let made = made.expect("a new one");
        assert!(made.is_new());
        assert_eq!(remarks.len(), 1, "{remarks:?}");
        assert!(remarks[0].text.contains(reason), "{}", remarks[0].text);
        assert!(remarks[0].is_warning);
        assert_eq!(found(&places, now).der(), made.der());
        // The user may want it back, if only the clock was wrong.
        let old = fs::read_to_string(places.own.join("ca.old.pem")).expect("it is kept");
        assert_eq!(old, content);
    }
}

/// The clock of a machine may be wrong after the start. The CA that the user trusts must not be lost.
#[test]
fn a_ca_from_the_future_is_kept() {
    let (scratch, now) = (Scratch::new(), SystemTime::now());
    let places = scratch.places();
    let made = found(&places, now);
    let (again, remarks) = find(&places, &names(&[]), now - 500 * DAY);
    assert_eq!(again.expect("the same").der(), made.der());
    assert!(remarks[0].text.contains("clock"), "{}", remarks[0].text);
}

#[test]
fn the_ca_of_mkcert_is_used_if_it_is_there() {
    let (scratch, now) = (Scratch::new(), SystemTime::now());
    let places = scratch.places();
    let (certificate, key) = self_signed(true, now, now + 500 * DAY);
    let path = scratch.write("data/mkcert/rootCA.pem", &certificate);
    // A machine may trust the CA and have no key for it.
    let own = found(&places, now);
    assert!(!own.is_of_mkcert());

    scratch.write("data/mkcert/rootCA-key.pem", &key);
    let used = found(&places, now);
    assert!(used.is_of_mkcert());
    assert_eq!(used.pem(), certificate.replace("\r\n", "\n"));
    assert_eq!(used.path(), path);
    let certificates = Certificates::make(&places, names(&["example.com"]), now).expect("a CA");
    assert_eq!(certificates.remarks, []);
    assert_eq!(certificates.origin().0, "certificate by your mkcert CA");

    // It is not ours to change.
    for (certificate, reason) in [
        (certificate.replace("MII", "XXX"), "cannot be read"),
        (
            self_signed(true, now, now + 5 * DAY).0,
            "another certificate",
        ),
        (self_signed(true, now - 90 * DAY, now - DAY).0, ""),
    ] {
        scratch.write("data/mkcert/rootCA.pem", &certificate);
        let (found, remarks) = find(&places, &names(&[]), now);
        assert_eq!(found.expect("ours").der(), own.der());
        assert_eq!(remarks.len(), 1, "{remarks:?}");
        let text = &remarks[0].text;
        assert!(
            text.contains(reason) && text.ends_with("is used instead"),
            "{text}"
        );
    }
    let (certificate, key) = self_signed(true, now - 90 * DAY, now - DAY);
    scratch.write("data/mkcert/rootCA.pem", &certificate);
    scratch.write("data/mkcert/rootCA-key.pem", &key);
    let (_, remarks) = find(&places, &names(&[]), now);
    assert!(remarks[0].text.contains("expired on"), "{remarks:?}");
}

#[test]
fn a_caroot_without_a_ca_is_told() {
    let (scratch, now) = (Scratch::new(), SystemTime::now());
    let variable = |name: &str| match name {
        "HOME" => Some(scratch.0.clone().into_os_string()),
        "CAROOT" => Some(scratch.join("elsewhere").into_os_string()),
        // A relative path does not count.
        "XDG_DATA_HOME" => Some("data".into()),
        _ => None,
    };
    let places = Places::from_environment(&variable).expect("there is a home");
    assert_eq!(places.own, scratch.join(".local/share/oneloop"));
    let (found, remarks) = find(&places, &names(&[]), now);
    assert!(!found.expect("ours").is_of_mkcert());
    assert_eq!(remarks.len(), 1);
    assert_eq!(remarks[0].path, scratch.join("elsewhere"));
    assert_eq!(Places::from_environment(&|_| None), None);
}

/// mkcert knows the stores of more programs than a list of commands does.
#[test]
fn the_instructions_for_the_ca_of_mkcert_begin_with_mkcert() {
    let (scratch, now) = (Scratch::new(), SystemTime::now());
    let (certificate, key) = self_signed(true, now, now + 500 * DAY);
    scratch.write("data/mkcert/rootCA.pem", &certificate);
    scratch.write("data/mkcert/rootCA-key.pem", &key);
    let text = instructions(&found(&scratch.places(), now));
    let at = |part: &str| text.find(part).expect(part);
    assert!(at("  mkcert -install\n") < at("  CA="), "{text}");
    assert!(at("`mkcert -uninstall`") < at("  CA="), "{text}");
    assert!(!text.contains("oneloop cert"), "{text}");
}

#[test]
fn the_instructions_name_the_file_and_never_show_the_key() {
    let (scratch, now) = (Scratch::new(), SystemTime::now());
    let made = found(&scratch.places(), now);
    let text = instructions(&made);
    let (first, _) = text.split_once('\n').expect("lines");
    assert!(first.starts_with("http://localhost needs no certificate"));
    let file = made.path().to_str().expect("text");
    for part in [
        "update-ca-certificates",
        "update-ca-trust",
        "trust anchor --store \"$CA\"",
        "trust anchor --remove \"$CA\"",
        "sql:$HOME/.pki/nssdb",
        "cert9.db",
        "/_oneloop/ca.crt",
        "certutil.exe",
        "SHA-256",
        file,
    ] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
    assert!(!text.contains("BEGIN"));
    // Paths and the hash are long.
    let is_long = |line: &&str| line.len() > 90 && !line.contains(&scratch.0.display().to_string());
    let long = text
        .lines()
        .filter(is_long)
        .filter(|line| !line.contains("SHA-256"));
    assert_eq!(long.collect::<Vec<_>>(), [""; 0]);
}
