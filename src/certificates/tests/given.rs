//! Floor 1, certificates: tests of the files of the user, with those in `tests/certificates`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::{Scratch, self_signed};
use crate::certificates::facts::Facts;
use crate::certificates::given::Given;
use crate::certificates::{Certificates, DAY, Remark};

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/certificates")
        .join(name)
}

/// Reads the two files. The error is the name of the file at fault, with the sentence.
fn give(certificate: &str, key: &str) -> Result<(usize, Vec<String>), String> {
    let mut remarks = Vec::new();
    let now = SystemTime::now();
    let given = Given::read(&file(certificate), &file(key), now, &mut remarks);
    let (_, pair) = given.map_err(|fault| {
        let name = fault.path.file_name().expect("a file").to_string_lossy();
        format!("{name}: {}", fault.text)
    })?;
    pair.keys_match().expect("they fit");
    let remarks = remarks.into_iter().map(|remark| remark.text).collect();
    Ok((pair.cert.len(), remarks))
}

#[test]
fn keys_and_certificates_of_each_usual_form_are_taken() {
    for (certificate, key, chain) in [
        ("ec.pem", "ec.sec1.pem", 1),
        ("ec.pem", "ec.pkcs8.pem", 1),
        // openssl ecparam -genkey writes the name of the curve in front.
        ("ec.pem", "ec.parameters.pem", 1),
        ("ec.pem", "ec.sec1.der", 1),
        ("ec.pem", "ec.pkcs8.der", 1),
        ("ec.der", "ec.sec1.pem", 1),
        ("both.pem", "both.pem", 3),
        // Only the certificates of the one count, and only the key of the other.
        ("ec.pem", "both.pem", 1),
        ("chain.pem", "ec.sec1.pem", 3),
        ("rsa.pem", "rsa.pkcs1.pem", 1),
        ("rsa.pem", "rsa.pkcs8.pem", 1),
        ("ed25519.pem", "ed25519.pkcs8.pem", 1),
        ("p384.pem", "p384.sec1.pem", 1),
    ] {
        let expected = Ok((chain, vec![]));
        assert_eq!(give(certificate, key), expected, "{certificate} {key}");
    }
}

#[test]
fn a_file_of_windows_is_taken() {
    let (scratch, now) = (Scratch::new(), SystemTime::now());
    let text = fs::read_to_string(file("both.pem")).expect("a file");
    let text = format!("\u{feff}{}", text.replace('\n', "\r\n"));
    let path = scratch.write("both.pem", text);
    Given::read(&path, &path, now, &mut Vec::new()).expect("it is taken");
}

#[test]
fn a_chain_of_any_order_is_put_right() {
    let now = SystemTime::now();
    let (_, pair) = Given::read(
        &file("chain.pem"),
        &file("ec.sec1.pem"),
        now,
        &mut Vec::new(),
    )
    .expect("a chain");
    let facts: Vec<_> = pair.cert.iter().filter_map(|der| Facts::of(der)).collect();
    let names: Vec<_> = facts.iter().map(|f| f.common_name.as_str()).collect();
    assert_eq!(names, ["ec", "middle", "root"]);
    let (count, remarks) = give("chain-and-more.pem", "ec.sec1.pem").expect("it is taken");
    assert_eq!(count, 3);
    assert_eq!(remarks.len(), 1, "{remarks:?}");
    assert!(
        remarks[0].starts_with("1 of the certificates"),
        "{remarks:?}"
    );
}

/// The sentence names the file, what it holds, and the next step.
#[test]
fn files_that_cannot_be_used_are_told_with_what_they_hold() {
    for (certificate, key, expected) in [
        (
            "absent.pem",
            "ec.sec1.pem",
            "absent.pem: it cannot be read (no such file or directory); name a file that this \
             user may read",
        ),
        (
            ".",
            "ec.sec1.pem",
            "certificates: it cannot be read (it is no regular file); name a file that this user \
             may read",
        ),
        (
            "ec.pem",
            "ec.pem",
            "ec.pem: it holds a certificate, and no private key; name the file of the key with \
             --tls-key",
        ),
        (
            "ec.sec1.pem",
            "ec.sec1.pem",
            "ec.sec1.pem: it holds a private key, and no certificate; name the file of the \
             certificate with --tls-cert",
        ),
        (
            "ec.sec1.pem",
            "ec.pem",
            "ec.sec1.pem: it holds a private key, and no certificate; are --tls-cert and \
             --tls-key the wrong way round?",
        ),
        (
            "ec.pem",
            "chain.pem",
            "chain.pem: it holds 3 certificates, and no private key; name the file of the key",
        ),
        (
            "ec.pem",
            "ec.encrypted.pem",
            "ec.encrypted.pem: its private key is encrypted; `openssl pkey -in KEY -out PLAIN` \
             writes it without a passphrase",
        ),
        (
            "ec.pem",
            "ec.encrypted-sec1.pem",
            "ec.encrypted-sec1.pem: its private key is encrypted; `openssl pkey -in KEY -out \
             PLAIN` writes it without a passphrase",
        ),
        (
            "ec.pem",
            "openssh.pem",
            "openssh.pem: its private key is in OpenSSH's own form; `ssh-keygen -p -m pem -f \
             FILE` puts it into PEM",
        ),
        (
            "ec.pem",
            "ec.public.pem",
            "ec.public.pem: it holds a public key, and no private key; name the file of the key",
        ),
        (
            "request.pem",
            "ec.sec1.pem",
            "request.pem: it holds a request for a certificate, and no certificate; name the \
             certificate that the CA has made from it",
        ),
        (
            "ec.p12",
            "ec.p12",
            "ec.p12: it holds a PKCS#12 archive, and no certificate; `openssl pkcs12 -nodes -in \
             OLD -out NEW` writes both as PEM",
        ),
        (
            "chain.pkcs7.pem",
            "ec.sec1.pem",
            "chain.pkcs7.pem: it holds certificates as PKCS#7, and no certificate; `openssl pkcs7 \
             -print_certs -in OLD -out NEW` writes it as PEM",
        ),
        (
            "make.sh",
            "ec.sec1.pem",
            "make.sh: it holds neither PEM nor DER that is known here, and no certificate; name \
             the file of the certificate",
        ),
        (
            "ec.pem",
            "rsa.pkcs1.pem",
            &format!(
                "rsa.pkcs1.pem: its private key does not belong to the certificate in {:?}; name \
                 the two files that belong together",
                file("ec.pem")
            ),
        ),
        (
            "p521.pem",
            "p521.sec1.pem",
            "p521.sec1.pem: its private key cannot be used here; use one of ECDSA (P-256 or \
             P-384), RSA (2048 to 8192 bits) or Ed25519",
        ),
        (
            "rsa1024.pem",
            "rsa1024.pkcs1.pem",
            "rsa1024.pkcs1.pem: its private key cannot be used here; use one of ECDSA (P-256 or \
             P-384), RSA (2048 to 8192 bits) or Ed25519",
        ),
    ] {
        assert_eq!(give(certificate, key), Err(expected.into()));
    }
}

#[test]
fn damaged_files_are_told() {
    let (scratch, now) = (Scratch::new(), SystemTime::now());
    let (certificate, key) = self_signed(false, now, now + DAY);
    let half = |text: &str| text[..text.len() / 2].to_owned();
    let no_der = certificate.replace("MII", "AAA");
    for (certificate, key, expected) in [
        (String::new(), key.clone(), "it holds nothing, and no cert"),
        (
            half(&certificate),
            key.clone(),
            "PEM that cannot be decoded",
        ),
        (no_der, key.clone(), "is it damaged?"),
        (
            certificate.clone(),
            half(&key),
            "PEM that cannot be decoded",
        ),
        (
            certificate.clone(),
            key.replace("MIG", "AAA"),
            "cannot be used",
        ),
        (certificate.clone(), "\0".repeat(2 << 20), "too large"),
    ] {
        let certificate = scratch.write("certificate.pem", certificate);
        let key = scratch.write("key.pem", key);
        let given = Given::read(&certificate, &key, now, &mut Vec::new());
        let fault = given.expect_err("it is refused");
        assert!(fault.text.contains(expected), "{}", fault.text);
    }
}

#[test]
fn what_browsers_refuse_is_a_warning() {
    let (scratch, now) = (Scratch::new(), SystemTime::now());
    let (_, remarks) = give("nameless.pem", "ec.sec1.pem").expect("it is taken");
    assert!(remarks[0].contains("subjectAltName"), "{remarks:?}");
    for (begins, ends, expected) in [
        (now - 9 * DAY, now - DAY, "has expired on"),
        (now + 5 * DAY, now + 9 * DAY, "is valid from"),
    ] {
        let (certificate, key) = self_signed(false, begins, ends);
        let path = scratch.write("both.pem", certificate + &key);
        let mut remarks = Vec::new();
        Given::read(&path, &path, now, &mut remarks).expect("it is taken");
        assert_eq!(remarks.len(), 1, "{remarks:?}");
        assert!(remarks[0].text.contains(expected), "{remarks:?}");
    }
}

/// The texts of the remarks since the last call, and the certificate that clients get.
fn seen(certificates: &mut Certificates, now: SystemTime) -> (Vec<u8>, Vec<Remark>) {
    certificates.meet(None, now);
    let pair = certificates.resolver.choose(None);
    (pair.cert[0].to_vec(), certificates.take_remarks())
}

#[test]
fn files_that_change_are_read_again_and_broken_ones_leave_the_old_certificate() {
    let (scratch, start) = (Scratch::new(), SystemTime::now());
    let at = |ms| start + Duration::from_millis(ms);
    let (certificate, key) = self_signed(false, start, start + 9 * DAY);
    let certificate_path = scratch.write("cert.pem", &certificate);
    let key_path = scratch.write("key.pem", &key);
    let given = Certificates::give(&certificate_path, &key_path, start);
    let mut certificates = given.expect("they fit");
    let (first, remarks) = seen(&mut certificates, start);
    assert_eq!(remarks, []);

    // Between the two files of a new pair nothing fits. A second later, that is told, once.
    let (certificate, key) = self_signed(false, start, start + 8 * DAY);
    scratch.write("cert.pem", &certificate);
    assert_eq!(seen(&mut certificates, at(100)), (first.clone(), vec![]));
    assert_eq!(seen(&mut certificates, at(400)), (first.clone(), vec![]));
    let (still, remarks) = seen(&mut certificates, at(1_400));
    assert_eq!(still, first);
    assert_eq!(remarks.len(), 1, "{remarks:?}");
    assert!(remarks[0].is_warning && remarks[0].path == key_path);
    assert!(
        remarks[0]
            .text
            .ends_with("the old certificate stays in use")
    );
    assert_eq!(seen(&mut certificates, at(9_000)), (first.clone(), vec![]));

    scratch.write("key.pem", &key);
    let (second, remarks) = seen(&mut certificates, at(10_000));
    assert_ne!(second, first);
    assert_eq!(remarks.len(), 1, "{remarks:?}");
    assert!(!remarks[0].is_warning && remarks[0].text.starts_with("a new certificate"));

    // Gone, and back.
    fs::remove_file(&key_path).expect("it is there");
    assert_eq!(
        seen(&mut certificates, at(11_000)),
        (second.clone(), vec![])
    );
    let (_, remarks) = seen(&mut certificates, at(13_000));
    assert!(remarks[0].text.contains("cannot be read"), "{remarks:?}");
    scratch.write("key.pem", &key);
    assert_eq!(
        seen(&mut certificates, at(14_000)),
        (second.clone(), vec![])
    );

    // The end comes while the server runs.
    let (_, remarks) = seen(&mut certificates, start + 9 * DAY);
    assert!(remarks[0].text.contains("has expired"), "{remarks:?}");
    assert_eq!(seen(&mut certificates, start + 10 * DAY), (second, vec![]));
}
