//! The names of systemd's units, as `systemd.unit(5)` describes them. Escapes such as `\x2d` stay as they are written:
//! they are part of the name.

/// The longest name of a unit, its suffix included.
pub(crate) const BYTES_MAX: usize = 255;

/// What follows the last dot in the name of a unit that processes can run in. Slices hold units, and no processes.
pub(crate) const WITH_PROCESSES: [&str; 5] = ["service", "scope", "socket", "mount", "swap"];

/// Whether `name` is that of a unit which processes can run in, a template without its instance being none.
#[must_use]
pub fn is_unit(name: &str) -> bool {
    let Some((stem, suffix)) = name.rsplit_once('.') else {
        return false;
    };
    let allowed = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b':' | b'-' | b'_' | b'.' | b'\\' | b'@');
    // `@` first would leave no name, and `@` last no instance.
    let whole = match stem.split_once('@') {
        Some((prefix, instance)) => !prefix.is_empty() && !instance.is_empty(),
        None => !stem.is_empty(),
    };
    name.len() <= BYTES_MAX && WITH_PROCESSES.contains(&suffix) && whole && stem.bytes().all(allowed)
}

/// Whether `name` is that of a slice. The root, `-.slice`, which holds everything and so says nothing, is not taken.
#[must_use]
pub fn is_slice(name: &str) -> bool {
    let Some(stem) = name.strip_suffix(".slice") else {
        return false;
    };
    let allowed = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b':' | b'_' | b'.' | b'\\');
    let part = |part: &str| !part.is_empty() && part.bytes().all(allowed);
    name.len() <= BYTES_MAX && stem.split('-').all(part)
}

/// The slice that the slice `name` lies in: a dash goes one down. `None` where that is the root.
#[must_use]
pub fn parent_of_slice(name: &str) -> Option<&str> {
    // Without the suffix, as it is the same for all.
    name.strip_suffix(".slice")?
        .rsplit_once('-')
        .map(|(parent, _)| parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_have_a_stem_and_a_suffix_that_processes_run_in() {
        for name in [
            "nginx.service",
            "getty@tty1.service",
            "a@b@c.service",
            "dbus-:1.2-org.freedesktop.Foo@0.service",
            r"dev-disk-by\x2duuid-a.swap",
            "init.scope",
            "session-3.scope",
            "docker.socket",
            "home.mount",
            "a.b.service",
            &format!("{}.service", "a".repeat(247)),
        ] {
            assert!(is_unit(name), "{name}");
        }
        for name in [
            "",
            ".service",
            "service",
            "nginx",
            "nginx.service.",
            "nginx.service (deleted)",
            "nginx.services",
            "nginx.Service",
            "multi-user.target",
            "a.timer",
            "system.slice",
            "@.service",
            "getty@.service",
            "@a.service",
            "a b.service",
            "a/b.service",
            "a\n.service",
            "ä.service",
            &format!("{}.service", "a".repeat(248)),
        ] {
            assert!(!is_unit(name), "{name}");
        }
    }

    #[test]
    fn slices_are_nested_by_dashes() {
        for (name, parent) in [
            ("system.slice", None),
            ("user-1000.slice", Some("user")),
            (r"system-openvpn\x2dclient.slice", Some("system")),
            ("a-b-c.slice", Some("a-b")),
        ] {
            assert!(is_slice(name), "{name}");
            assert_eq!(parent_of_slice(name), parent, "{name}");
        }
        for name in [
            "",
            ".slice",
            "-.slice",
            "a-.slice",
            "-a.slice",
            "a--b.slice",
            "a@b.slice",
            "a b.slice",
            "a.slices",
            "a.slice/",
            &format!("{}.slice", "a".repeat(250)),
        ] {
            assert!(!is_slice(name), "{name}");
        }
    }
}
