//! Calico's policies in three tiers, all of which select the measured pods.

use tortie_model::calico::{Action, Class, Entity, Policy, Rule, Selector, Tier};
use tortie_model::{Direction, IpProtocol, Labels, Meta, Order, PortSpec};
use tortie_policy::{Delta, calico_policy, calico_tier};
use tortie_testkit::build;

use crate::policies::{APPS, PORT, PORT_SETS, Role, pods};

/// Tiers; what none of its rules decides is denied at the end of each.
const TIERS: u32 = 3;

fn selector(text: &str) -> Selector {
    text.parse().expect("a selector")
}

fn meta(namespace: &str, name: &str) -> Meta {
    Meta { namespace: namespace.into(), name: name.into(), labels: Labels::default(), uid: "".into() }
}

/// A rule about packets between the measured pod and a peer, to these ports.
fn rule(action: Action, direction: Direction, protocol: IpProtocol, peer: &Entity, ports: Vec<PortSpec>) -> Rule {
    let (source, mut destination) = match direction {
        Direction::Ingress => (peer.clone(), Entity::default()),
        Direction::Egress => (Entity::default(), peer.clone()),
    };
    destination.ports = ports;
    build::calico_rule(action, Some(protocol), source, destination)
}

/// The rules of policy `n`: every fifth has a block with an exception, the others pods of one label; every tenth names a
/// port.
fn rules(n: u32, direction: Direction) -> Vec<Rule> {
    let action = [Action::Allow, Action::Deny, Action::Pass][usize::try_from(n / TIERS % 3).expect("one of three")];
    let peer = if n % 5 == 2 {
        let (high, low) = (16 + n / 256 % 16, n % 256);
        let net = |text: String| text.parse().expect("a block");
        let nets = vec![net(format!("172.{high}.{low}.0/24"))];
        Entity { nets, not_nets: vec![net(format!("172.{high}.{low}.128/25"))], ..Entity::default() }
    } else {
        Entity { selector: Some(selector(&format!("app == 'a{}'", n % APPS))), ..Entity::default() }
    };
    let set = u16::try_from(n % PORT_SETS).expect("fewer than 65536 sets");
    let mut ports = vec![PortSpec::Range(10_000 + set, 10_000 + set)];
    if set.is_multiple_of(3) {
        ports.push(PortSpec::Range(20_000 + set * 4, 20_003 + set * 4));
    }
    let mut rules = vec![rule(action, direction, IpProtocol::UDP, &peer, ports)];
    if n.is_multiple_of(10) {
        rules.push(rule(action, direction, IpProtocol::TCP, &peer, vec![PortSpec::Named("http".into())]));
    }
    rules
}

/// The rules of the last policy of a tier: it passes what the last policy of the last tier alone allows.
fn last(tier: u32, direction: Direction) -> Vec<Rule> {
    let action = if tier + 1 == TIERS { Action::Allow } else { Action::Pass };
    let peer = Entity { selector: Some(selector("app == 'probe'")), ..Entity::default() };
    let port = || vec![PortSpec::Range(PORT, PORT)];
    [IpProtocol::UDP, IpProtocol::TCP].map(|protocol| rule(action, direction, protocol, &peer, port())).into()
}

/// A cluster with `policies` policies in each direction, in turn in three tiers, that in turn allow, deny and pass.
pub(crate) fn cluster(policies: u32) -> Vec<Delta> {
    let mut deltas = pods();
    for tier in 0..TIERS {
        let name = format!("tier-{tier}");
        let order = Order::new(f64::from(tier));
        deltas.push(Delta::Tier(calico_tier(&Tier { meta: meta("", &name), order, passes: false })));
    }
    for n in 0..policies {
        let tier = n % TIERS;
        for (role, direction) in [(Role::Server, Direction::Ingress), (Role::Bound, Direction::Egress)] {
            let rules = Some(if n + TIERS >= policies { last(tier, direction) } else { rules(n, direction) });
            let (ingress, egress) = if direction == Direction::Ingress { (rules, None) } else { (None, rules) };
            let policy = Policy {
                meta: meta("ns", &format!("{direction}-{n:06}")),
                tier: format!("tier-{tier}").into(),
                order: Order::new(f64::from(n)),
                selector: selector(&format!("role == '{}'", role.name())),
                namespaces: None,
                service_accounts: None,
                ingress,
                egress,
                class: Class::Normal,
            };
            deltas.push(Delta::Policy(Box::new(calico_policy(&policy).expect("it is about pods"))));
        }
    }
    deltas
}
