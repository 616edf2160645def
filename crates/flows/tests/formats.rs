//! What recorders write, and what is made of it.

use tortie_flows::{BadLine, Endpoint, Flow, Format, Passed, Recording, Seen, Who, read};

fn recording(text: &str, format: Option<Format>) -> Recording {
    read(text.as_bytes(), format).expect("memory can be read")
}

/// Flows as `from -> to traffic allowed denied`, sorted.
fn shown(recording: &Recording) -> Vec<String> {
    let flow = |(flow, seen): (&Flow, &Seen)| {
        format!("{} -> {} {} {} {}", flow.from, flow.to, flow.traffic, seen.allowed(), seen.denied())
    };
    let mut flows: Vec<String> = recording.flows.iter().map(flow).collect();
    flows.sort();
    flows
}

fn bad(recording: &Recording) -> Vec<usize> {
    assert_eq!(recording.bad.len(), recording.bad_count);
    recording.bad.iter().map(|bad| bad.line).collect()
}

fn passed(recording: &Recording) -> Vec<(Passed, usize)> {
    recording.passed.iter().map(|(what, n)| (*what, *n)).collect()
}

#[test]
fn flows_of_a_lab_and_flows_in_bulk() {
    let text = r#"
{"first":1.0,"last":2.0,"from":"prod/web","to":"prod/db","family":"IPv4","traffic":"TCP/5432","verdict":"allow","count":7,"egress":null,"ingress":null}
{"first":1.0,"last":2.0,"from":"prod/web","to":"prod/db","family":"IPv6","traffic":"TCP/5432","verdict":"deny","count":2,"egress":null,"ingress":null}
{"from":"prod/web","to":"node/n1","traffic":"ICMP type 8 code 0","verdict":"allow","count":1}
{"from":"prod/web","to":"::ffff:10.0.0.7","proto":17,"port":53}
{"from":"prod/Deployment/web","to":"192.0.2.1","icmp":{"type":8}}
{"from":"a","to":"prod/web","traffic":"protocol 47","verdict":"allow"}
"#;
    let recording = recording(text, None);
    assert_eq!(bad(&recording), [0; 0]);
    let expected = [
        "a -> prod/web protocol 47 1 0",
        "prod/Deployment/web -> 192.0.2.1 ICMP type 8 code 0 1 0",
        "prod/web -> 10.0.0.7 UDP/53 1 0",
        "prod/web -> node/n1 ICMP type 8 code 0 1 0",
        "prod/web -> prod/db TCP/5432 7 2",
    ];
    assert_eq!(shown(&recording), expected);
}

/// A packet of TCP as Hubble tells of it.
fn packet(verdict: &str, direction: &str, header: &str, rest: &str) -> String {
    let text = r#"{"flow":{"verdict":"VERDICT","IP":{"source":"10.0.0.1","destination":"10.0.0.2"},"l4":{"TCP":{"source_port":40000,"destination_port":80HEADER}},"source":{"namespace":"a","pod_name":"x"},"destination":{"namespace":"b","pod_name":"y-0","workloads":[{"name":"y","kind":"StatefulSet"}]},"traffic_direction":"DIRECTION"REST},"node_name":"n"}"#;
    let text = text.replace("VERDICT", verdict).replace("DIRECTION", direction);
    text.replace("HEADER", header).replace("REST", rest) + "\n"
}

#[test]
fn hubble_tells_of_packets_at_points_of_their_way() {
    let first = r#","is_reply":false"#;
    let text = [
        packet("FORWARDED", "EGRESS", "", first),
        packet("FORWARDED", "INGRESS", "", first),
        packet("FORWARDED", "EGRESS", r#","flags":{"SYN":true}"#, ""),
        packet("FORWARDED", "EGRESS", r#","flags":{"SYN":true,"ACK":true}"#, ""),
        packet("FORWARDED", "INGRESS", "", r#","is_reply":true"#),
        packet("FORWARDED", "INGRESS", r#","flags":{"ACK":true}"#, r#","is_reply":null"#),
        packet("TRACED", "EGRESS", "", first),
        packet("DROPPED", "INGRESS", "", r#","is_reply":null"#),
        "{\"lost_events\":{\"num_events_lost\":\"3\"}}\n".to_owned(),
        packet("GUESSED", "EGRESS", "", first),
    ];
    let recording = recording(&text.concat(), None);
    assert_eq!(shown(&recording), ["a/x -> b/StatefulSet/y TCP/80 1 1"]);
    let expected = [(Passed::Replies, 2), (Passed::Directionless, 1), (Passed::Undecided, 1), (Passed::OtherEvents, 1)];
    assert_eq!(passed(&recording), expected);
    assert_eq!(bad(&recording), [10]);
    assert!(recording.bad[0].why.contains("GUESSED"), "{:?}", recording.bad);
}

#[test]
fn json_for_people_is_read_too() {
    let text = "\
{
  \"verdict\": \"DROPPED\",
  \"IP\": {\"source\": \"10.0.0.1\", \"destination\": \"10.0.0.2\"},
  \"l4\": {\"UDP\": {\"source_port\": 1, \"destination_port\": 53}},
  \"traffic_direction\": \"EGRESS\"
}
{
  \"l4\": {},
  \"IP\": {}
}
{ nothing
";
    let recording = recording(text, None);
    assert_eq!(shown(&recording), ["10.0.0.1 -> 10.0.0.2 UDP/53 0 1"]);
    assert_eq!(bad(&recording), [7, 11], "{:?}", recording.bad);
}

#[test]
fn calico_tells_of_pods_together_and_once_for_each_end() {
    let log = r#"
{"start_time":1,"end_time":2,"source_ip":"10.0.0.1","source_name":"-","source_name_aggr":"cart-6d5f9-*","source_namespace":"shop","source_port":null,"source_type":"wep","dest_ip":"10.0.0.2","dest_name":"db-0","dest_name_aggr":"db-*","dest_namespace":"shop","dest_port":5432,"dest_type":"wep","proto":"tcp","action":"allow","reporter":"src","num_flows":4,"num_flows_started":3}
{"start_time":1,"end_time":2,"source_ip":"10.0.0.1","source_name":"-","source_name_aggr":"cart-6d5f9-*","source_namespace":"shop","source_type":"wep","dest_ip":"10.0.0.2","dest_name":"db-0","dest_name_aggr":"db-*","dest_namespace":"shop","dest_port":5432,"dest_type":"wep","proto":"tcp","action":"deny","reporter":"dst","num_flows":3}
{"source_ip":null,"source_name":"-","source_name_aggr":"cart-6d5f9-*","source_namespace":"shop","source_type":"wep","dest_ip":"203.0.113.7","dest_name":"-","dest_name_aggr":"pub","dest_namespace":"-","dest_port":443,"dest_type":"net","proto":"6","action":"allow","reporter":"src","num_flows":1}
{"source_name":"frontend-77c8-*","source_namespace":"web","dest_name":"pvt","dest_namespace":"-","protocol":"udp","dest_port":123,"action":"Allow","reporter":"Src","packets_in":0}
{"id":"7","flow":{"Key":{"sourceName":"n1-auto-hep","sourceType":"HostEndpoint","destName":"api-5f-*","destNamespace":"web","destType":"WorkloadEndpoint","destPort":"8080","proto":"tcp","reporter":"Dst","action":"Allow"},"numConnectionsStarted":"5"}}
{"source_namespace":"web","source_name":"x","dest_namespace":"-","dest_name":"-","protocol":"tcp","dest_port":1,"action":"Allow"}
{"source_namespace":"web","source_name":"x","dest_namespace":"web","dest_name":"y","protocol":"tcp","dest_port":1,"action":"Pass"}
"#;
    let recording = recording(log, None);
    let expected = [
        "node/n1 -> web/api-5f-* TCP/8080 5 0",
        "shop/cart-6d5f9-* -> 203.0.113.7 TCP/443 1 0",
        "shop/cart-6d5f9-* -> shop/db-0 TCP/5432 0 3",
        "web/frontend-77c8-* -> a private network UDP/123 1 0",
    ];
    assert_eq!(shown(&recording), expected);
    assert_eq!((bad(&recording), passed(&recording)), (vec![7], vec![(Passed::Undecided, 1)]));
    let who = Who::Pods { namespace: "web".to_owned(), prefix: "frontend-77c8-".to_owned() };
    assert!(recording.flows.keys().any(|flow| flow.from == Endpoint { who: Some(who.clone()), address: None }));
    // What Whisker answers is one document.
    let whisker = r#"{"total":{"totalPages":1},"items":[{"source_name":"a","source_namespace":"x","dest_name":"b","dest_namespace":"y","protocol":"tcp","dest_port":1,"action":"Deny","reporter":"Src"}]}"#;
    assert_eq!(shown(&self::recording(whisker, Some(Format::Calico))), ["x/a -> y/b TCP/1 0 1"]);
}

#[test]
fn conntrack_has_both_sides_of_a_connection() {
    let text = "\
tcp      6 431999 ESTABLISHED src=10.1.0.1 dst=10.96.0.10 sport=40000 dport=80 src=10.1.0.5 dst=10.1.0.1 sport=8080 dport=40000 [ASSURED] mark=0 use=1
ipv4     2 tcp      6 86397 ESTABLISHED src=10.1.0.1 dst=10.96.0.10 sport=40000 dport=80 src=10.1.0.5 dst=192.168.0.2 sport=8080 dport=40000 [ASSURED] mark=0 use=2
tcp      6 100 SYN_SENT src=10.1.0.1 dst=10.1.0.9 sport=40002 dport=22 [UNREPLIED] src=10.1.0.9 dst=10.1.0.1 sport=22 dport=40002 mark=0 use=1
udp      17 20 src=10.1.0.1 dst=10.1.0.7 sport=5000 dport=514 [UNREPLIED] src=10.1.0.7 dst=10.1.0.1 sport=514 dport=5000 mark=0 use=1
icmpv6   58 29 src=fd00::1 dst=fd00::2 type=128 code=0 id=3 src=fd00::2 dst=fd00::1 type=129 code=0 id=3 mark=0 use=1
tcp      6 1 TIME_WAIT src=127.0.0.1 dst=127.0.0.1 sport=1 dport=2 src=127.0.0.1 dst=127.0.0.1 sport=2 dport=1 [ASSURED] use=1
tcp      6 1 TIME_WAIT src=10.1.0.1 dst=10.1.0.2 sport=1 dport=2
conntrack v1.4.7 (conntrack-tools): 6 flow entries have been shown.
";
    let recording = recording(text, None);
    let expected = [
        "10.1.0.1 -> 10.1.0.5 TCP/8080 1 0",
        "10.1.0.1 -> 10.1.0.7 UDP/514 1 0",
        "fd00::1 -> fd00::2 ICMPv6 type 128 code 0 1 0",
    ];
    assert_eq!(shown(&recording), expected);
    assert_eq!(passed(&recording), [(Passed::Loopback, 1), (Passed::Unanswered, 1), (Passed::Repeated, 1)]);
    assert_eq!(bad(&recording), [7, 8]);
}

#[test]
fn lines_that_make_no_sense_are_told_and_stop_nobody() {
    let mut text = b"garbage\n\n{\"from\":\"a/b\",\"to\":\n{\"x\":1}\n[1]\n\xff\xfe\n".to_vec();
    text.extend(b"{\"from\":\"a/b\",\"to\":\"a/c\",\"proto\":\"TCP\",\"port\":70000}\n");
    text.extend(b"{\"from\":\"a/b\",\"to\":\"a/c\",\"proto\":\"TCP\",\"port\":7}");
    let recording = read(&text[..], None).expect("memory can be read");
    assert_eq!(bad(&recording), [1, 3, 4, 5, 6, 7]);
    assert_eq!(shown(&recording), ["a/b -> a/c TCP/7 1 0"]);
    assert_eq!(recording.lines, 7);
    // What a format is said to be, it has to be.
    let wrong = self::recording("tcp 6 1 src=10.0.0.1 dst=10.0.0.2\n", Some(Format::Hubble));
    assert!(matches!(&wrong.bad[..], [BadLine { line: 1, .. }]));
}
