use super::*;
use anstream::adapter::strip_str;
use tortie_analysis::observation::{Answer, DecidedBy, Decisions, Kernel, Observation};
use tortie_model::Family;

fn observation(family: Family, from: &str, to: &str, probe: &str, allowed: bool) -> Observation {
    let answer = Answer::from(allowed);
    Observation {
        case: "c".into(),
        step: "s".into(),
        family,
        from: from.into(),
        to: to.into(),
        probe: probe.into(),
        via: "pod".into(),
        expected: Some(answer),
        engine: answer,
        plan: answer,
        kernel: Some(if allowed { Kernel::Allow } else { Kernel::Deny }),
        decided_by: Decisions::default(),
        ms: None,
        why: None,
    }
}

/// All pairs of pods, both families, with these probes.
fn report(pods: &[&str], probes: &[&str], allowed: impl Fn(&str, &str, &str) -> bool) -> StepReport {
    let mut observations = Vec::new();
    for probe in probes {
        for from in pods {
            for to in pods.iter().filter(|to| *to != from) {
                for family in Family::ALL {
                    observations.push(observation(family, from, to, probe, allowed(from, to, probe)));
                }
            }
        }
    }
    StepReport { case: "c".into(), step: "s".into(), actions: Vec::new(), observations, lost_records: 0 }
}

fn drawn(report: &StepReport, before: Option<&StepReport>, workloads: &Workloads, width: usize) -> String {
    let text = strip_str(&step(report, before, workloads, width)).to_string();
    assert!(text.lines().all(|l| l.chars().count() <= width), "wider than {width}:\n{text}");
    assert!(text.lines().all(|l| l.trim_end() == l), "spaces at the end of a line:\n{text}");
    text
}

const PODS: [&str; 4] = ["dev/dev1", "dev/dev2", "prod/prod1", "prod/prod2"];

fn within(from: &str, to: &str) -> bool {
    from.split('/').next() == to.split('/').next()
}

#[test]
fn probes_that_look_the_same_share_a_matrix() {
    let report = report(&PODS, &["ping", "TCP/80", "UDP/53"], |a, b, probe| within(a, b) || probe == "UDP/53");
    assert_eq!(
        drawn(&report, None, &Workloads::new(), 60),
        "\
── s ───────────────────────────────────────────────────────

ping, TCP/80  IPv4 and IPv6
              dev       prod
from \\ to     dev1 dev2 prod1 prod2
dev  dev1     ·    ✓    ✗     ✗
     dev2     ✓    ·    ✗     ✗
prod prod1    ✗    ✗    ·     ✓
     prod2    ✗    ✗    ✓     ·

UDP/53  IPv4 and IPv6
              dev       prod
from \\ to     dev1 dev2 prod1 prod2
dev  dev1     ·    ✓    ✓     ✓
     dev2     ✓    ·    ✓     ✓
prod prod1    ✓    ✓    ·     ✓
     prod2    ✓    ✓    ✓     ·
"
    );
}

#[test]
fn a_step_shows_what_it_changed() {
    let before = report(&PODS, &["ping"], |a, b, _| within(a, b));
    let after = report(&PODS, &["ping"], |a, b, _| within(a, b) || (a.starts_with("dev") && b.starts_with("prod")));
    let text = drawn(&after, Some(&before), &Workloads::new(), 60);
    assert!(text.contains("dev  dev1     ·    ✓    ✓*    ✓*\n"), "{text}");
    assert!(text.contains("\nopened  ping: dev/* -> prod/*\n"), "{text}");
    assert!(!text.contains("closed") && text.contains("* changed"), "{text}");
    let back = drawn(&before, Some(&after), &Workloads::new(), 60);
    assert!(back.contains("\nclosed  ping: dev/* -> prod/*\n"), "{back}");
    let same = drawn(&after, Some(&after), &Workloads::new(), 60);
    assert!(!same.contains('*') && !same.contains("opened"), "{same}");
}

#[test]
fn families_that_disagree_are_told_apart() {
    let mut report = report(&PODS[..2], &["ping"], |_, _, _| true);
    report.observations[1] = observation(Family::V6, "dev/dev1", "dev/dev2", "ping", false);
    let text = drawn(&report, None, &Workloads::new(), 60);
    assert!(text.contains("dev dev1     ·    v4\n    dev2     ✓    ·\n"), "{text}");
}

#[test]
fn what_differs_stands_out_and_is_listed() {
    let mut report = report(&PODS[..2], &["ping", "TCP/80"], |_, _, _| true);
    for o in report.observations.iter_mut().filter(|o| o.from == "dev/dev1") {
        o.expected = Some(Answer::Deny);
        o.why = Some("dev1 is closed".into());
        o.decided_by.ingress = Some(DecidedBy {
            kind: "NetworkPolicy".into(),
            namespace: Some("dev".into()),
            name: "open".into(),
            rule: 1,
            file: Some("open.yaml".into()),
            line: Some(12),
        });
    }
    report.observations[2].kernel = Some(Kernel::Lost { why: "no answer, and no drop was seen".into() });
    let text = drawn(&report, None, &Workloads::new(), 80);
    assert!(text.contains("✓!") && text.contains("?!"), "{text}");
    assert!(
        text.contains(
            "differs dev/dev1 -> dev/dev2  ping, TCP/80  IPv4 and IPv6\n    expected deny, engine allow, plan allow, kernel allow\n    ingress decided by ingress[1] of NetworkPolicy/dev/open  open.yaml:12\n    the case says: dev1 is closed\n"
        ),
        "{text}"
    );
    assert!(text.contains("kernel lost\n    no answer, and no drop was seen\n"), "{text}");
}

#[test]
fn a_wide_cluster_is_grouped_by_workload_then_by_namespace() {
    let names: Vec<String> = (0..20).flat_map(|w| (1..=2).map(move |p| format!("shop/work{w:02}-{p}"))).collect();
    let workloads: Workloads = names
        .iter()
        .map(|n| (n.clone(), format!("shop/Deployment/{}", n["shop/".len()..].split('-').next().unwrap())))
        .collect();
    let pods: Vec<&str> = names.iter().map(String::as_str).collect();
    let all = report(&pods, &["ping"], |from, to, _| from < to || from.starts_with("shop/work00"));
    let by_workload = drawn(&all, None, &workloads, 160);
    assert!(by_workload.contains("work03 (2)"), "{by_workload}");
    assert!(by_workload.contains("2/4") || by_workload.contains('✗'), "{by_workload}");
    let by_namespace = drawn(&all, None, &workloads, 60);
    assert!(by_namespace.contains(" shop (40)"), "{by_namespace}");
}

#[test]
fn a_cluster_of_many_namespaces_is_drawn_in_bands() {
    let names: Vec<String> = (10..50).map(|n| format!("namespace{n}/pod")).collect();
    let pods: Vec<&str> = names.iter().map(String::as_str).collect();
    let text = drawn(&report(&pods, &["ping"], |_, _, _| true), None, &Workloads::new(), 80);
    assert!(text.matches("from \\ to").count() > 1, "{text}");
    assert_eq!(text.matches('✓').count(), 40 * 39);
}

#[test]
fn names_and_hosts_have_matrices_of_their_own() {
    let mut report = report(&PODS[..2], &["ping"], |_, _, _| true);
    for (from, to, probe, ok) in [
        ("dev/dev1", "internet", "ping", false),
        ("dev/dev1", "dns:www.example.com", "dns:www.example.com", true),
        ("dev/dev1", "dns:kube-dns.kube-system.svc", "dns:kube-dns.kube-system.svc", false),
    ] {
        report.observations.push(observation(Family::V4, from, to, probe, ok));
    }
    let text = drawn(&report, None, &Workloads::new(), 80);
    assert!(text.contains("\nping beyond the cluster  IPv4\nfrom \\ to    internet\ndev dev1     ✗\n"), "{text}");
    assert!(text.contains("names that resolve") && text.contains("www.example.com"), "{text}");
}

#[test]
fn the_summary_counts() {
    let mut tally = Tally::default();
    let step = report(&PODS, &["ping"], |a, b, _| within(a, b));
    tally.add(&step);
    let text = strip_str(&tally.text(Some(std::time::Duration::from_millis(1540)), &[], 40)).to_string();
    assert_eq!(
        text,
        "── summary ─────────────────────────────\n1 step, 24 probes sent in 1.5 s: 8 got through, 16 denied\nall as expected; engine, plan and kernel agree on every probe\n"
    );
    let mut wrong = step.clone();
    wrong.observations[0].expected = Some(Answer::Deny);
    tally.add(&wrong);
    assert!(!tally.holds());
    assert!(tally.text(None, &[], 40).contains("1 differ"));
}

#[test]
fn a_prediction_says_that_it_is_one() {
    let mut report = report(&PODS, &["ping"], |a, b, _| within(a, b));
    assert!(!drawn(&report, None, &Workloads::new(), 60).contains("PREDICTED"));
    report.observations.iter_mut().for_each(|o| o.kernel = None);
    let text = drawn(&report, None, &Workloads::new(), 60);
    assert!(text.lines().nth(1) == Some("PREDICTED: no packet was sent") && text.contains('✓'), "{text}");
}

#[test]
fn lost_records_are_told_under_the_matrix() {
    let mut report = report(&PODS, &["ping"], |a, b, _| within(a, b));
    assert!(!drawn(&report, None, &Workloads::new(), 80).contains("log record"));
    for (count, said) in [(1, "1 log record was lost in this step, "), (12, "12 log records were lost in this step, ")]
    {
        report.lost_records = count;
        let text = drawn(&report, None, &Workloads::new(), 80);
        let (_, footer) = text.split_once(&format!("\n\n{said}")).expect("it is told last");
        let words = footer.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.ends_with("counts as lost, not as denied"), "{footer}");
        assert!(footer.lines().all(|line| line.chars().count() <= 80), "{footer}");
    }
}
