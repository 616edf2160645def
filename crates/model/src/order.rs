//! The order of tiers and policies.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

/// Position among tiers, or among the policies of a tier: lower first, none last.
#[derive(Clone, Copy, Debug)]
pub struct Order(Option<f64>);

impl Order {
    /// No order: after everything that has one.
    pub const NONE: Self = Self(None);

    /// An order; negative and fractional ones are legal in Calico. Not-a-number counts as none.
    #[must_use]
    pub const fn new(order: f64) -> Self {
        if order.is_nan() { Self(None) } else { Self(Some(order)) }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> Option<f64> {
        self.0
    }
}

impl Ord for Order {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.0, other.0) {
            // `-0.0` and `0.0` are the same order.
            (Some(a), Some(b)) => (a + 0.0).total_cmp(&(b + 0.0)),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => Ordering::Equal,
        }
    }
}

impl PartialOrd for Order {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Order {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Order {}

impl Hash for Order {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.map(|o| (o + 0.0).to_bits()).hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_sort_with_none_last() {
        let mut o = [Order::NONE, Order::new(1000.0), Order::new(-1.5), Order::new(f64::NAN), Order::new(0.0)];
        o.sort();
        assert_eq!(o.map(Order::get), [Some(-1.5), Some(0.0), Some(1000.0), None, None]);
        assert_eq!(Order::new(-0.0), Order::new(0.0));
        assert_eq!(Order::new(0.0), Order::new(-0.0));
        assert_ne!(Order::new(1.0), Order::new(2.0));
        assert_ne!(Order::new(0.0), Order::NONE);
    }

    #[test]
    fn orders_that_are_equal_hash_alike() {
        use std::hash::BuildHasher;
        let state = std::hash::RandomState::new();
        let hash = |order: Order| state.hash_one(order);
        assert_eq!(hash(Order::new(-0.0)), hash(Order::new(0.0)));
        let all = [Order::new(1.0), Order::new(2.0), Order::new(0.0), Order::NONE].map(hash);
        assert_eq!(all.iter().collect::<std::collections::HashSet<_>>().len(), 4);
    }
}
