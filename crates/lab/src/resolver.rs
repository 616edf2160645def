//! How a pod resolves names: `/etc/resolv.conf` and the search list.

use std::{fmt::Write as _, net::IpAddr};

/// Dots in a name from which on it is tried as it stands first.
pub const NDOTS: usize = 5;

/// The search list of pods in `namespace`.
#[must_use]
pub fn search_list(namespace: &str, domain: &str) -> Vec<String> {
    vec![format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.to_owned()]
}

/// What a pod's `/etc/resolv.conf` says.
#[must_use]
pub fn resolv_conf(servers: &[IpAddr], namespace: &str, domain: &str) -> String {
    let mut text = format!("search {}\n", search_list(namespace, domain).join(" "));
    for server in servers {
        let _ = writeln!(text, "nameserver {server}");
    }
    let _ = writeln!(text, "options ndots:{NDOTS}");
    text
}

/// The full names that a resolver asks for, in order, until one exists (resolv.conf(5), `search` and `ndots`).
#[must_use]
pub fn candidates(name: &str, search: &[String]) -> Vec<String> {
    if let Some(full) = name.strip_suffix('.') {
        return vec![full.to_owned()];
    }
    let searched = search.iter().map(|suffix| format!("{name}.{suffix}"));
    if name.matches('.').count() >= NDOTS {
        [name.to_owned()].into_iter().chain(searched).collect()
    } else {
        searched.chain([name.to_owned()]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_tried_through_the_search_list() {
        let search = search_list("prod", "cluster.local");
        assert_eq!(
            candidates("kube-dns.kube-system.svc", &search),
            [
                "kube-dns.kube-system.svc.prod.svc.cluster.local",
                "kube-dns.kube-system.svc.svc.cluster.local",
                "kube-dns.kube-system.svc.cluster.local",
                "kube-dns.kube-system.svc"
            ]
        );
        assert_eq!(candidates("www.example.com.", &search), ["www.example.com"]);
        assert_eq!(candidates("a.b.c.d.e.f", &search)[0], "a.b.c.d.e.f");
    }

    #[test]
    fn a_resolv_conf() {
        assert_eq!(
            resolv_conf(&["10.96.0.10".parse().expect("address")], "dev", "cluster.local"),
            "search dev.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n"
        );
    }
}
