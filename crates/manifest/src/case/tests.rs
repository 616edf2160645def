use super::*;
use crate::{LoadOptions, Memory};

const PODS: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: x}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: b, namespace: x}\n---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: z}\nspec: {replicas: 3, template: {metadata: {labels: {app: web}}}}\n---\napiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: z}\nspec: {ports: [{port: 80}]}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: host, namespace: x}\nspec: {hostNetwork: true}\n";

fn read(case: &str) -> Case {
    let files = Memory::new([
        ("d/t.case.yaml", case),
        ("d/base/pods.yaml", PODS),
        ("d/more/p.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: c, namespace: x}\n"),
    ]);
    let mut cases = open(&files, "d", &LoadOptions::default());
    assert_eq!((cases.cases.len(), cases.diagnostics.len()), (1, 0), "{:?}", cases.diagnostics);
    cases.cases.remove(0)
}

fn with(expect: &str) -> Case {
    read(&format!(
        "tortie: v1\nmanifests: [base/]\ncluster: {{outside: [{{name: internet, addresses: [198.51.100.7]}}]}}\nsteps:\n- expect: {expect}\n"
    ))
}

fn resolve(case: &Case, step: usize) -> Result<Vec<Cell>, Vec<Diagnostic>> {
    let mut store = case.store();
    for step in &case.steps[..=step] {
        step.change(&mut store).unwrap();
    }
    let endpoints = Endpoints::of(&store.state(), &case.cluster);
    case.steps[step].expect.iter().map(|e| e.resolve(&endpoints)).collect::<Result<Vec<_>, _>>().map(|c| c.concat())
}

fn shown(expect: &str) -> Vec<String> {
    let case = with(expect);
    assert!(case.is_playable(), "{:?}", case.diagnostics);
    let cells = resolve(&case, 0).unwrap_or_else(|e| panic!("{e:?}"));
    let to = |c: &Cell| c.to.as_ref().map_or(String::new(), |t| format!(" -> {t}"));
    cells.iter().map(|c| format!("{}{} {} {}", c.from, to(c), c.probe, c.expected)).collect()
}

fn errors(expect: &str) -> Vec<String> {
    let case = with(expect);
    assert!(case.is_playable(), "{:?}", case.diagnostics);
    resolve(&case, 0).unwrap_err().iter().map(|d| d.render(false)).collect()
}

#[test]
fn default_speaks_of_all_pairs_of_pods_and_its_own_lines_are_exceptions() {
    assert_eq!(
        shown("[{probe: ping, default: deny, allow: ['* -> z/*'], deny: ['x/b -> z/web-2  # not this one']}]"),
        [
            "x/a -> x/b ping deny",
            "x/a -> z/web-1 ping allow",
            "x/a -> z/web-2 ping allow",
            "x/b -> x/a ping deny",
            "x/b -> z/web-1 ping allow",
            "x/b -> z/web-2 ping deny",
            "z/web-1 -> x/a ping deny",
            "z/web-1 -> x/b ping deny",
            "z/web-1 -> z/web-2 ping allow",
            "z/web-2 -> x/a ping deny",
            "z/web-2 -> x/b ping deny",
            "z/web-2 -> z/web-1 ping allow",
        ]
    );
    let both = "allow: ['x/a -> x/b'], deny: ['x/* -> x/*']";
    assert!(shown(&format!("[{{probe: ping, default: allow, {both}}}]")).contains(&"x/a -> x/b ping allow".to_owned()));
    assert!(shown(&format!("[{{probe: ping, default: deny, {both}}}]")).contains(&"x/a -> x/b ping deny".to_owned()));
}

#[test]
fn without_default_only_what_is_named_is_tried_and_contradictions_are_errors() {
    assert_eq!(
        shown("[{probe: [TCP/http, TCP/8000-8004], allow: ['x/a -> z/Deployment/web']}]"),
        [
            "x/a -> z/web-1 TCP/http allow",
            "x/a -> z/web-1 TCP/8000 allow",
            "x/a -> z/web-1 TCP/8004 allow",
            "x/a -> z/web-2 TCP/http allow",
            "x/a -> z/web-2 TCP/8000 allow",
            "x/a -> z/web-2 TCP/8004 allow",
        ]
    );
    let found = errors("[{probe: ping, allow: ['x/a -> x/b'], deny: ['x/* -> x/*']}]");
    assert!(found[0].contains("x/a -> x/b is under allow and under deny"), "{}", found[0]);
}

#[test]
fn a_pod_with_itself_counts_only_by_name() {
    assert_eq!(shown("[{probe: ping, allow: ['x/a -> x/a']}]"), ["x/a -> x/a ping allow"]);
    assert_eq!(shown("[{probe: ping, allow: ['x/a -> x/*']}]"), ["x/a -> x/b ping allow"]);
    assert!(errors("[{probe: ping, allow: ['x/a* -> x/a*']}]")[0].contains("only a pod with itself"));
}

#[test]
fn lines_that_match_nothing_are_errors_with_a_guess() {
    let found = errors("[{probe: ping, allow: ['x/a -> x/bb', 'nobody/* -> x/a', 'x/a -> intrnet']}]");
    assert_eq!(found.len(), 3);
    assert!(found[0].contains("did you mean x/b?") && found[0].contains("d/t.case.yaml:5:"), "{}", found[0]);
    assert!(found[2].contains("did you mean internet?"), "{}", found[2]);
}

#[test]
fn all_forms_of_endpoints() {
    assert_eq!(
        shown(
            "[{probe: TCP/80, allow: ['internet -> x/a', 'node/node-1 -> x/a', 'x/a -> 198.51.100.7', 'x/a -> x/host']}]"
        ),
        [
            "x/a -> x/host TCP/80 allow",
            "x/a -> 198.51.100.7 TCP/80 allow",
            "node/node-1 -> x/a TCP/80 allow",
            "internet -> x/a TCP/80 allow",
        ]
    );
    assert_eq!(
        shown("[{probe: TCP/80, via: service, default: deny, allow: ['x/a -> z/web']}]"),
        [
            "x/a -> z/web TCP/80 allow",
            "x/b -> z/web TCP/80 deny",
            "z/web-1 -> z/web TCP/80 deny",
            "z/web-2 -> z/web TCP/80 deny",
        ]
    );
    assert_eq!(
        shown("[{probe: 'dns:a.b', default: deny, allow: ['x/*  # why']}]"),
        ["x/a dns:a.b allow", "x/b dns:a.b allow", "z/web-1 dns:a.b deny", "z/web-2 dns:a.b deny",]
    );
}

#[test]
fn steps_apply_parts_of_files_and_delete_and_label() {
    let case = read(
        "tortie: v1\nname: k\nabout: a\nmanifests: ['b*/*.yaml']\nobjects: [{apiVersion: v1, kind: Namespace, metadata: {name: x, labels: {l: m}}}]\nsteps:\n- name: one\n  apply: [more/p.yaml]\n  objects: [{apiVersion: v1, kind: Pod, metadata: {name: d, namespace: x}}]\n- delete: [Pod/x/a]\n  label: [{object: Namespace/x, set: {m: o}, remove: [l]}, {object: Pod/z/web-1, set: {p: q}}]\n- apply: {file: base/pods.yaml, only: [Pod/x/a]}\n- delete: [Pod/x/nope]\n",
    );
    assert!(case.is_playable(), "{:?}", case.diagnostics);
    let mut store = case.store();
    let pods = |store: &Store| store.state().pods.iter().map(|p| p.meta.name.to_string()).collect::<Vec<_>>();
    assert_eq!(pods(&store), ["a", "b", "host", "web-1", "web-2"]);
    case.steps[0].change(&mut store).unwrap();
    assert_eq!(pods(&store), ["a", "b", "c", "d", "host", "web-1", "web-2"]);
    case.steps[1].change(&mut store).unwrap();
    let state = store.state();
    assert_eq!(state.namespaces[0].labels().get("m"), Some("o"));
    assert!(!state.namespaces[0].labels().has("l"));
    assert_eq!(state.pods.last().unwrap().meta.labels.get("p"), None);
    assert_eq!(state.pods[4].meta.labels.get("p"), Some("q"));
    case.steps[2].change(&mut store).unwrap();
    assert_eq!(pods(&store)[0], "a");
    let error = case.steps[3].change(&mut store).unwrap_err();
    assert_eq!(error.place.as_ref().map(Place::line), Some(13));
    assert_eq!((case.steps[0].name.as_str(), case.steps[1].name.as_str()), ("one", "step 2"));
}

#[test]
fn mistakes_have_their_place_and_a_way_out() {
    let text = "tortie: v1\nnme: x\ncluster: {nodes: 0, families: [IPv5], outside: [{name: 'a b'}]}\nmanifests: [nothing.yaml]\nsteps:\n- apply: [{file: base/pods.yaml, only: [Pod/x/z]}]\n  expects: []\n- expect:\n  - {probe: [ICMP], allow: [x/a]}\n  - {probe: [ping], allow: ['x/a -> '], default: maybe}\n  - {probe: [ping, 'dns:x'], allow: []}\n  - probe: ping\n  - {probe: 'dns:x', allow: ['a -> b']}\n  delete: [Pods/x]\n  label: [{object: Pod/x/a}]\n";
    let case = read(text);
    assert!(!case.is_playable());
    let shown: Vec<String> =
        case.diagnostics.iter().map(|d| format!("{} {}", d.place.as_ref().map_or(0, Place::line), d.text())).collect();
    for expected in [
        "2 unknown field \"nme\"",
        "3 cluster.nodes: must be a number from 1 to 64",
        "3 `IPv5` is no address family",
        "3 cluster.outside[0].name: a host beyond",
        "4 no file matches d/nothing.yaml",
        "6 base/pods.yaml holds no Pod/x/z",
        "7 unknown field \"steps[0].expects\"",
        "9 `ICMP` is no probe",
        "9 `x/a`: write who sends",
        "10 `` names nobody",
        "10 steps[1].expect[1].default: must be",
        "11 steps[1].expect[2].probe: names and packets",
        "12 steps[1].expect[3]: expects nothing",
        "13 `a -> b`: for names",
        "14 `Pods` is not a kind",
        "15 steps[1].label[0]: needs `set`",
    ] {
        assert!(shown.iter().any(|s| s.starts_with(expected)), "{expected}\n{}", shown.join("\n"));
    }
    let unknown = case.diagnostics.iter().find(|d| d.field == "steps[0].expects").unwrap();
    assert_eq!(unknown.help.as_deref(), Some("did you mean `expect`?"));
}

#[test]
fn a_folder_without_cases_is_one_case_that_changes_nothing() {
    let files = Memory::new([("d/pods.yaml", PODS)]);
    for path in ["d", "d/pods.yaml"] {
        let cases = open(&files, path, &LoadOptions::default());
        assert_eq!(cases.cases.len(), 1);
        let case = &cases.cases[0];
        assert!(case.is_playable() && case.steps.len() == 1 && case.steps[0].expect.is_empty());
        assert_eq!(case.store().state().pods.len(), 5);
    }
    assert_eq!(open(&files, "e", &LoadOptions::default()).diagnostics.len(), 1);
}

#[test]
fn a_case_with_an_invalid_policy_is_not_played() {
    let case = read(
        "tortie: v1\nobjects:\n- {apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: p}, spec: {podselector: {}}}\n",
    );
    assert!(!case.is_playable());
    assert_eq!(case.diagnostics[0].place.as_ref().map(ToString::to_string).as_deref(), Some("d/t.case.yaml:3:87"));
}
