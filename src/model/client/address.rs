//! Addresses: which are taken, and which lie in networks that a stranger must not send us to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ureq::http::Uri;

use super::quoted;
use crate::error::{Error, Result};

/// What an address looks like.
const HELP: &str = "an address begins with http:// or https:// and the name of a machine";

/// Checks the base of an endpoint's addresses.
pub(in crate::model) fn check_base(url: &str) -> Result<()> {
    if url.is_empty() {
        return Err(Error::input("no-url", "where is the endpoint?")
            .help("WITH (url = 'http://127.0.0.1:8000/v1', name = '…') names it and its model"));
    }
    if read(url)?.query().is_some() || url.contains('#') {
        let message = "the base of an endpoint's addresses has no `?` and no `#`";
        return Err(Error::input("bad-url", message).help("it ends in a path, often in /v1"));
    }
    Ok(())
}

/// Reads an address of the web. A message about it never repeats a password.
pub(super) fn read(url: &str) -> Result<Uri> {
    let bad = |message: String| Error::input("bad-url", message).help(HELP);
    let uri: Uri = url.parse().map_err(|error| bad(format!("an address is wrong: {error}")))?;
    let host = uri.authority().filter(|authority| !authority.host().is_empty());
    match (uri.scheme_str(), host) {
        (Some("http" | "https"), Some(authority)) if authority.as_str().contains('@') => {
            Err(bad("an address holds a user's name or password".to_owned()).help(
                "leave out what stands before the `@`; for an endpoint, `key_env` names the \
                 environment variable that holds the key",
            ))
        }
        (Some("http" | "https"), Some(_)) => Ok(uri),
        (_, Some(authority)) if authority.as_str().contains('@') => {
            Err(bad("an address is none of the web".to_owned()))
        }
        _ => Err(bad(format!("`{}` is no address of the web", quoted(url)))),
    }
}

/// Escapes what people leave as it is in addresses: blanks and letters beyond ASCII.
pub(super) fn escaped(url: &str) -> String {
    let mut text = String::with_capacity(url.len());
    for byte in url.trim().bytes() {
        if byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

/// Whether an address leads to this machine, where no proxy is of use.
pub(super) fn is_this_machine(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

/// Whether a number belongs to the public internet, and to no machine or network of its own.
pub(super) fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let shared = a == 100 && (64..128).contains(&b);
    let protocol = (a, b, c) == (192, 0, 0);
    let measured = a == 198 && (18..20).contains(&b);
    // 0 is this network, 224 to 239 groups, 240 to 255 reserved and everybody.
    let reserved = a == 0 || a >= 224;
    !(ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_documentation()
        || shared
        || protocol
        || measured
        || reserved)
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let [a, b, ..] = ip.segments();
    // Beyond 2000::/3 lie loopback, link-local, unique-local, groups, and IPv4 in its wrappings.
    let global = (0x2000..0x4000).contains(&a);
    let tunnels = a == 0x2002 || (a == 0x2001 && b == 0);
    let documentation = (a == 0x2001 && b == 0xdb8) || a == 0x3fff;
    global && !tunnels && !documentation
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn public_numbers_are_told_from_private_ones() {
        let public = ["1.1.1.1", "100.63.0.1", "100.128.0.1", "198.20.0.1", "172.32.0.1"];
        let public = public.iter().chain(&["223.255.255.1", "2606:4700::1111", "2a00::1"]);
        for text in public {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
        let v4 = "0.0.0.0 0.1.2.3 10.0.0.1 100.64.0.1 100.127.255.255 127.0.0.1 127.9.9.9 169.254.169.254 \
                  172.16.0.1 172.31.255.255 192.0.0.1 192.0.2.1 192.168.1.1 198.18.0.1 224.0.0.1 240.0.0.1 \
                  255.255.255.255";
        let v6 = ":: ::1 ::127.0.0.1 ::ffff:127.0.0.1 ::ffff:1.1.1.1 64:ff9b::a00:1 fc00::1 fd12::1 fe80::1 \
                  fec0::1 ff02::1 2001:db8::1 2001::1 2002:7f00:1::";
        for text in v4.split_whitespace().chain(v6.split_whitespace()) {
            assert!(!is_public(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn addresses_are_read_and_no_password_is_repeated() {
        for url in ["http://127.0.0.1:8000/v1", "https://api.example.com/v1/", "http://[::1]:1/"] {
            read(url).unwrap();
        }
        let bad =
            ["", "api.example.com/v1", "ftp://a/b", "file:///a", "http://", "http:///a", "x:y"];
        for url in
            bad.iter().chain(&["http://ann:s3cret@a/v1", "ftp://ann:s3cret@a/", "ann:s3cret@a"])
        {
            let error = read(url).unwrap_err();
            assert_eq!(error.code(), "bad-url", "{url}");
            assert!(!error.to_string().contains("s3cret"), "{error}");
            assert!(error.help_text().is_some(), "{url}");
        }
        assert_eq!(check_base("").unwrap_err().code(), "no-url");
        assert_eq!(check_base("http://a/v1?key=1").unwrap_err().code(), "bad-url");
        assert_eq!(escaped(" http://a/b c/ä.png?x=1%20 "), "http://a/b%20c/%C3%A4.png?x=1%20");
        assert!(is_this_machine(&read("http://[::1]:1/").unwrap()));
        assert!(!is_this_machine(&read("http://10.0.0.1/").unwrap()));
    }
}
