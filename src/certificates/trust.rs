//! Floor 1, certificates: the text of `oneloop cert`. It says where the CA is, and how to trust it. The
//! program itself touches no trust store: it would need the rights of root, and there are many stores.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use super::facts::Constraints;
use super::{Authority, date, sha256};

/// The text for the user, about this CA.
pub fn instructions(authority: &Authority) -> String {
    let path = authority.path();
    let directory = path.parent().unwrap_or(path);
    let (file, folder) = (quoted(path.as_os_str()), quoted(directory.as_os_str()));
    let facts = authority.facts();
    let (begin, end) = (date(facts.begins), date(facts.ends));
    let fingerprint = fingerprint(authority.der());
    let limits = limits(&facts.constraints);
    let (name, key, begin_with, change) = match authority.is_of_mkcert() {
        true => (
            "mkcert",
            format!("{folder}/rootCA-key.pem"),
            "\
To trust it on this machine, let mkcert do so:
  mkcert -install
`mkcert -uninstall` undoes that. Where mkcert cannot, do it by hand: begin with",
            String::new(),
        ),
        false => (
            "oneloop",
            format!("{folder}/ca.pem"),
            "No program trusts it by itself. To trust it on this machine, begin with",
            format!(
                "For another CA, such as one that may sign for a name of --allow-host:\n  \
                 rm -r {folder}\n  oneloop cert --allow-host NAME\n"
            ),
        ),
    };
    format!(
        "\
http://localhost needs no certificate: for browsers it is a secure context already,
with service workers, crypto.subtle, the camera and the rest. HTTPS is for other
devices, for Secure cookies in Safari, and for what asks for https:// by name.

The CA of {name}, which signs the certificates of oneloop --tls:
  certificate  {file}
  private key  {key} (keep it to yourself)
  valid        {begin} to {end}
  SHA-256      {fingerprint}
  signs for    {limits}

{begin_with}
  CA={file}
and go on for each kind of program:
  Debian, Ubuntu    sudo cp \"$CA\" /usr/local/share/ca-certificates/oneloop.crt
                    sudo update-ca-certificates
  Fedora            sudo cp \"$CA\" /etc/pki/ca-trust/source/anchors/oneloop.pem
                    sudo update-ca-trust
  Arch              sudo trust anchor --store \"$CA\"
  Chromium, Chrome  mkdir -p ~/.pki/nssdb
                    certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n oneloop -i \"$CA\"
  Firefox           for db in ~/.mozilla/firefox/*/cert9.db \\
                      ~/.config/mozilla/firefox/*/cert9.db; do [ ! -e \"$db\" ] ||
                      certutil -d sql:\"${{db%/*}}\" -A -t C,, -n oneloop -i \"$CA\"
                    done
  curl              curl --cacert \"$CA\" https://localhost:8080/
  Node.js           export NODE_EXTRA_CA_CERTS=\"$CA\"
  Windows, in WSL   certutil.exe -user -addstore Root \"$(wslpath -w \"$CA\")\"
certutil is in libnss3-tools (Debian), nss-tools (Fedora) or nss (Arch). Browsers from
snap have their files in ~/snap/chromium/current/.pki and in
~/snap/firefox/common/.mozilla. Start a browser anew afterwards.

On another device, fetch /_oneloop/ca.crt of this server first, or copy the file:
  macOS             security add-trusted-cert -r trustRoot \\
                      -k ~/Library/Keychains/login.keychain-db ca.crt
  iOS, iPadOS       open it in Safari; Settings, General, VPN & Device Management,
                    install it; then Settings, General, About, Certificate Trust
                    Settings, switch it on
  Android           Settings, Security, Encryption & credentials, Install a
                    certificate, CA certificate

To undo: remove the file of the first two, and repeat their last line; then
  Arch              sudo trust anchor --remove \"$CA\"
  Chromium, Firefox certutil -d sql:DIRECTORY -D -n oneloop
  Windows, in WSL   certutil.exe -user -delstore Root {common}
{change}",
        common = quoted(OsStr::new(&facts.common_name)),
    )
}

/// The hash by which people compare certificates.
fn fingerprint(der: &[u8]) -> String {
    let bytes = sha256(der);
    let bytes: Vec<_> = bytes.iter().map(|b| format!("{b:02X}")).collect();
    bytes.join(":")
}

/// The names and addresses for which the CA may sign.
fn limits(constraints: &Constraints) -> String {
    match constraints.names() {
        None => "any name and address: whoever has the key can pose as any site".into(),
        Some(names) => {
            let names = names.join(", ");
            let names = names.escape_default();
            format!("{names}, names below these, and private addresses")
        }
    }
}

/// An argument for a shell. A path may have any byte but zero, and the terminal must not be sent escape
/// sequences.
fn quoted(text: &OsStr) -> String {
    let is_plain = |b: &u8| b.is_ascii_alphanumeric() || b"/._-+,:@%".contains(b);
    let bytes = text.as_bytes();
    if bytes.iter().all(is_plain) {
        return text.to_string_lossy().into();
    }
    let escaped = bytes.escape_ascii();
    format!("$'{escaped}'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_any_byte_is_an_argument_of_a_shell() {
        for (path, expected) in [
            (&b"/home/me/.local/share"[..], "/home/me/.local/share"),
            (b"/home/my name", "$'/home/my name'"),
            (b"/it's", "$'/it\\'s'"),
            (b"/a\x1b[31m\xff\n", "$'/a\\x1b[31m\\xff\\n'"),
        ] {
            assert_eq!(quoted(OsStr::from_bytes(path)), expected);
        }
    }
}
