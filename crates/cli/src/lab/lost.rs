//! What a lab could not tell, said plainly.

use tortie_lab::control::LostLine;

/// What a node lost, and what that means for who reads its flows; nothing when it lost nothing.
pub(crate) fn sentences(lost: &LostLine) -> Vec<String> {
    let LostLine { node, records, connections } = lost;
    let mut out = Vec::new();
    if *records > 0 {
        let (records, were) =
            if *records == 1 { ("1 log record".to_owned(), "was") } else { (format!("{records} log records"), "were") };
        out.push(format!(
            "{node}: {records} {were} lost, more than its buffer holds came at once: denied packets are missing above, \
             or counted too low"
        ));
    }
    if *connections > 0 {
        out.push(format!(
            "{node}: opened connections could not be told {}, for the same reason: allowed flows are missing above, or \
             counted too low",
            times(*connections)
        ));
    }
    out
}

/// The same in a table, short.
pub(crate) fn brief(lost: &LostLine) -> Option<String> {
    let mut parts = Vec::new();
    if lost.records > 0 {
        parts.push(format!("{} log records lost", lost.records));
    }
    if lost.connections > 0 {
        parts.push(format!("opened connections not told {}", times(lost.connections)));
    }
    (!parts.is_empty()).then(|| format!("{}: flows are incomplete", parts.join(", ")))
}

fn times(n: u64) -> String {
    if n == 1 { "once".to_owned() } else { format!("{n} times") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(records: u64, connections: u64) -> LostLine {
        LostLine { node: "node-1".into(), records, connections }
    }

    #[test]
    fn what_was_lost_is_said_with_what_it_means() {
        assert_eq!(sentences(&lost(0, 0)), Vec::<String>::new());
        let [records, connections] = &sentences(&lost(1, 2))[..] else { panic!("two sentences") };
        assert!(
            records.starts_with("node-1: 1 log record was lost, ") && records.contains("denied packets"),
            "{records}"
        );
        let told = "node-1: opened connections could not be told 2 times, ";
        assert!(connections.starts_with(told) && connections.contains("allowed flows"), "{connections}");
        assert!(sentences(&lost(7, 0))[0].starts_with("node-1: 7 log records were lost, "));
    }

    #[test]
    fn a_table_says_it_in_few_words() {
        assert_eq!(brief(&lost(0, 0)), None);
        assert_eq!(brief(&lost(3, 0)).as_deref(), Some("3 log records lost: flows are incomplete"));
        let both = "3 log records lost, opened connections not told once: flows are incomplete";
        assert_eq!(brief(&lost(3, 1)).as_deref(), Some(both));
    }
}
