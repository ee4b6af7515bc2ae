//! Floor 1, certificates: the tests, with a directory of their own for each.

mod authority;
mod given;
mod handshake;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair};

use super::leaf::set_validity;
use super::{Names, Places};

/// A directory that is removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Scratch {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("oneloop-certificates-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).expect("a new directory");
        Scratch(path)
    }

    /// Our CA is in `data/oneloop`, and mkcert's in `data/mkcert`.
    fn places(&self) -> Places {
        Places {
            own: self.0.join("data/oneloop"),
            mkcert: Some((self.0.join("data/mkcert"), false)),
        }
    }

    fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file, with the directories above.
    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().expect("it has one")).expect("directories");
        fs::write(&path, content).expect("a file");
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The names of a server on the machine `box`, with these hosts allowed.
fn names(allow_hosts: &[&str]) -> Names {
    let hosts: Vec<_> = allow_hosts.iter().map(|host| (*host).to_owned()).collect();
    Names::new(Some("Box"), &hosts, &[])
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path)
        .expect("it is there")
        .permissions()
        .mode()
        & 0o777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
}

/// Makes a certificate that its own key signs. Returns certificate and key as PEM.
fn self_signed(is_ca: bool, now: SystemTime, ends: SystemTime) -> (String, String) {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
    params.distinguished_name.push(DnType::CommonName, "tests");
    if is_ca {
        params.subject_alt_names.clear();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    set_validity(&mut params, now, ends);
    let certificate = params.self_signed(&key).expect("a certificate");
    (certificate.pem(), key.serialize_pem())
}
