//! Which addresses are public: those that mean the same machine from everywhere.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What an address is that is not public; `None` for a public one.
///
/// The source is IANA's registries of special-purpose addresses (RFC 6890). An IPv6 address that carries an IPv4 one leads
/// there, and is judged by it.
pub(super) fn special(address: IpAddr) -> Option<&'static str> {
    match address.to_canonical() {
        IpAddr::V4(address) => special_v4(address),
        IpAddr::V6(address) => special_v6(address),
    }
}

fn special_v4(address: Ipv4Addr) -> Option<&'static str> {
    let kind = match address.octets() {
        [0, ..] => "an address of this host",
        [127, ..] => "a loopback address",
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => "a private address",
        [100, 64..=127, ..] => "an address shared by a provider's customers",
        [169, 254, ..] => "a link-local address",
        [192, 0, 0, _] => "an address of protocols",
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => "an address of documentation",
        [192, 88, 99, _] => "an address of 6to4 relays",
        [198, 18..=19, ..] => "an address of benchmarks",
        [224..=239, ..] => "a multicast address",
        [255, 255, 255, 255] => "the broadcast address",
        [240..=255, ..] => "a reserved address",
        _ => return None,
    };
    Some(kind)
}

fn special_v6(address: Ipv6Addr) -> Option<&'static str> {
    let segments = address.segments();
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        special_v4(Ipv4Addr::new(a, b, c, d))
    };
    let kind = match segments {
        [0, 0, 0, 0, 0, 0, 0, 0] => "the unspecified address",
        [0, 0, 0, 0, 0, 0, 0, 1] => "a loopback address",
        // NAT64, which is how a network without IPv4 reaches it, and 6to4.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => return v4(high, low),
        // Teredo too, which carries an IPv4 address in disguise.
        [0x2001, 0..=0x1ff, ..] => "an address of protocols",
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => "an address of documentation",
        [0x2000..=0x3fff, ..] => return None,
        [0xfc00..=0xfdff, ..] => "a unique local address",
        [0xfe80..=0xfebf, ..] => "a link-local address",
        [0xff00..=0xffff, ..] => "a multicast address",
        // Only 2000::/3 is given out; the rest is old (IPv4-compatible, site-local), local or of the future.
        _ => "a reserved address",
    };
    Some(kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn co3_special_addresses_are_known() {
        for (addresses, kind) in [
            ("0.0.0.0 0.1.2.3", "of this host"),
            ("127.0.0.1 127.255.255.255 ::1 ::ffff:127.0.0.1 64:ff9b::7f00:1 2002:7f00:1::", "loopback"),
            ("10.0.0.0 10.255.255.255 172.16.0.0 172.31.255.255 192.168.0.0 192.168.255.255", "private"),
            ("::ffff:10.0.0.1 ::ffff:a00:1 64:ff9b::192.168.1.1 2002:a00:1::1", "private"),
            ("100.64.0.0 100.127.255.255 ::ffff:100.64.0.1", "shared"),
            ("169.254.0.0 169.254.169.254 fe80:: fe80::1 febf::1 ::ffff:169.254.169.254", "link-local"),
            ("192.0.0.0 192.0.0.255 2001:: 2001:0:4136:e378:8000:63bf:3fff:fdd2 2001:1ff::1", "protocols"),
            ("192.0.2.1 198.51.100.1 203.0.113.1 2001:db8::1 3fff:: 3fff:fff::1", "documentation"),
            ("192.88.99.1", "6to4"),
            ("198.18.0.0 198.19.255.255", "benchmarks"),
            ("224.0.0.1 239.255.255.255 ff00:: ff02::1", "multicast"),
            ("255.255.255.255 ::ffff:255.255.255.255", "broadcast"),
            ("240.0.0.0 255.255.255.254", "reserved"),
            ("::", "unspecified"),
            ("fc00:: fd00::1 fdff:ffff::1", "unique local"),
            // IPv4-compatible, site-local, discard-only, NAT64 of a network, segment routing, not given out.
            ("::2 ::127.0.0.1 ::8.8.8.8 fec0::1 100::1 64:ff9b:1::1 64:ff9b:0:0:0:1:808:808 5f00::1", "reserved"),
            ("1fff::1 4000::1 8000::1", "reserved"),
        ] {
            for address in addresses.split(' ') {
                let found = special(address.parse().unwrap());
                assert!(found.is_some_and(|found| found.contains(kind)), "{address}: {found:?}, not {kind}");
            }
        }
    }

    #[test]
    fn co3_public_addresses_are_known() {
        for address in [
            "1.0.0.0",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.0.3.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2000::",
            "2001:200::1",
            "2001:4860:4860::8888",
            "2606:4700:4700::1111",
            "3fff:1000::",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
            "2002:808:808::1",
        ] {
            assert_eq!(special(address.parse().unwrap()), None, "{address}");
        }
    }
}
