//! Where two maps differ.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::map::{Child, Node};

/// A key whose value is not the same in two maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changed<'a, K, V> {
    /// The key.
    pub key: &'a K,
    /// Its value before.
    pub old: Option<&'a V>,
    /// Its value after.
    pub new: Option<&'a V>,
}

/// What is left of one map, the nearest last.
struct Rest<'a, K, V>(Vec<Piece<'a, K, V>>);

enum Piece<'a, K, V> {
    Node(&'a Arc<Node<K, V>>),
    Children(&'a [Child<K, V>]),
    Entries(&'a [(K, V)]),
}

/// What comes next.
enum Next<'a, K, V> {
    Node(&'a Arc<Node<K, V>>),
    Entry(&'a K, &'a V),
}

impl<'a, K, V> Rest<'a, K, V> {
    fn next(&mut self) -> Option<Next<'a, K, V>> {
        loop {
            match self.0.last_mut()? {
                Piece::Node(node) => return Some(Next::Node(node)),
                Piece::Children([]) | Piece::Entries([]) => drop(self.0.pop()),
                Piece::Children([(_, node), ..]) => return Some(Next::Node(node)),
                Piece::Entries([(key, value), ..]) => return Some(Next::Entry(key, value)),
            }
        }
    }

    /// Leaves out what comes next.
    fn skip(&mut self) {
        match self.0.last_mut() {
            Some(Piece::Children(list)) => *list = &list[1..],
            Some(Piece::Entries(list)) => *list = &list[1..],
            Some(Piece::Node(_)) | None => drop(self.0.pop()),
        }
    }

    /// Looks into the node that comes next.
    fn open(&mut self, node: &'a Node<K, V>) {
        self.skip();
        self.0.push(match node {
            Node::Leaf(entries) => Piece::Entries(entries),
            Node::Inner(children) => Piece::Children(children),
        });
    }
}

fn depth<K, V>(mut node: &Node<K, V>) -> usize {
    let mut depth = 0;
    while let Node::Inner(children) = node {
        depth += 1;
        node = &children[0].1;
    }
    depth
}

/// Walks both maps in order, past what they share.
pub(crate) fn changes<'a, K: Ord, V: PartialEq>(
    old: &'a Arc<Node<K, V>>,
    new: &'a Arc<Node<K, V>>,
) -> Vec<Changed<'a, K, V>> {
    let mut out = Vec::new();
    let (mut a, mut b) = (Rest(vec![Piece::Node(old)]), Rest(vec![Piece::Node(new)]));
    let gone = |key, value| Changed { key, old: Some(value), new: None };
    let come = |key, value| Changed { key, old: None, new: Some(value) };
    loop {
        match (a.next(), b.next()) {
            (None, None) => return out,
            (Some(Next::Node(x)), Some(Next::Node(y))) => match (Arc::ptr_eq(x, y), depth(x).cmp(&depth(y))) {
                (true, _) => {
                    a.skip();
                    b.skip();
                }
                (false, Ordering::Greater) => a.open(x),
                (false, Ordering::Less) => b.open(y),
                // The one that begins earlier: the other may be shared with what follows it.
                (false, Ordering::Equal) => match x.first().cmp(&y.first()) {
                    Ordering::Less => a.open(x),
                    Ordering::Greater => b.open(y),
                    Ordering::Equal => {
                        a.open(x);
                        b.open(y);
                    }
                },
            },
            (Some(Next::Node(x)), Some(Next::Entry(key, value))) => {
                if x.first().is_some_and(|first| key < first) {
                    out.push(come(key, value));
                    b.skip();
                } else {
                    a.open(x);
                }
            }
            (Some(Next::Entry(key, value)), Some(Next::Node(y))) => {
                if y.first().is_some_and(|first| key < first) {
                    out.push(gone(key, value));
                    a.skip();
                } else {
                    b.open(y);
                }
            }
            (Some(Next::Entry(k, v)), Some(Next::Entry(l, w))) => match k.cmp(l) {
                Ordering::Less => {
                    out.push(gone(k, v));
                    a.skip();
                }
                Ordering::Greater => {
                    out.push(come(l, w));
                    b.skip();
                }
                Ordering::Equal => {
                    if v != w {
                        out.push(Changed { key: k, old: Some(v), new: Some(w) });
                    }
                    a.skip();
                    b.skip();
                }
            },
            (Some(Next::Node(x)), None) => a.open(x),
            (None, Some(Next::Node(y))) => b.open(y),
            (Some(Next::Entry(key, value)), None) => {
                out.push(gone(key, value));
                a.skip();
            }
            (None, Some(Next::Entry(key, value))) => {
                out.push(come(key, value));
                b.skip();
            }
        }
    }
}
