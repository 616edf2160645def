//! Whose addresses they are. An address belongs to one place at a time.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::address::Families;
use crate::error::LabError;
use crate::pod::Place;

/// The addresses in use.
#[derive(Debug)]
pub(super) struct Owners {
    families: Families,
    places: HashMap<IpAddr, Place>,
}

impl Owners {
    pub(super) fn new(families: Families) -> Self {
        Self { families, places: HashMap::new() }
    }

    pub(super) fn of(&self, address: IpAddr) -> Option<&Place> {
        self.places.get(&address)
    }

    /// Makes addresses belong to places, all or none.
    pub(super) fn claim(&mut self, claims: Vec<(Place, Vec<IpAddr>)>) -> Result<(), LabError> {
        let mut claimed: Vec<IpAddr> = Vec::new();
        for (place, addresses) in claims {
            for address in addresses {
                if let Err(e) = self.claim_one(&place, address) {
                    self.release(&claimed);
                    return Err(e);
                }
                claimed.push(address);
            }
        }
        Ok(())
    }

    fn claim_one(&mut self, place: &Place, address: IpAddr) -> Result<(), LabError> {
        let name = place.to_string();
        if !self.families.have(address) {
            return Err(LabError::Family { name, address });
        }
        if let Some(owner) = self.places.get(&address) {
            return Err(LabError::AddressTaken { name, address, owner: owner.to_string() });
        }
        self.places.insert(address, place.clone());
        Ok(())
    }

    /// Makes addresses that are free belong to a place.
    pub(super) fn give(&mut self, place: &Place, addresses: &[IpAddr]) {
        self.places.extend(addresses.iter().map(|address| (*address, place.clone())));
    }

    /// Makes them free again.
    pub(super) fn release<'a>(&mut self, addresses: impl IntoIterator<Item = &'a IpAddr>) {
        for address in addresses {
            self.places.remove(address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn addresses_are_claimed_all_or_none() {
        let mut owners = Owners::new(Families::Ipv4);
        let (one, two) = (Place::pod("a", "one"), Place::pod("a", "two"));
        owners.claim(vec![(one.clone(), vec![ip("10.0.0.1")])]).expect("it is free");
        let taken = owners.claim(vec![(two.clone(), vec![ip("10.0.0.2"), ip("10.0.0.1")])]);
        assert!(matches!(taken, Err(LabError::AddressTaken { owner, .. }) if owner == "a/one"));
        let family = owners.claim(vec![(two.clone(), vec![ip("10.0.0.2"), ip("fd00::2")])]);
        assert!(matches!(family, Err(LabError::Family { .. })));
        assert_eq!((owners.of(ip("10.0.0.1")), owners.of(ip("10.0.0.2"))), (Some(&one), None));
        owners.release(&[ip("10.0.0.1")]);
        owners.claim(vec![(two.clone(), vec![ip("10.0.0.1")])]).expect("it is free again");
        assert_eq!(owners.of(ip("10.0.0.1")), Some(&two));
    }
}
