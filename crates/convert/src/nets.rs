//! Blocks of addresses, and what is left of them.

use ipnet::IpNet;

/// All addresses.
pub(crate) fn everywhere() -> [IpNet; 2] {
    tortie_model::Family::ALL.map(tortie_model::Family::whole)
}

/// What is left of a block, as blocks.
pub(crate) fn without(block: IpNet, except: &[IpNet]) -> Vec<IpNet> {
    if except.iter().any(|e| e.contains(&block)) {
        return Vec::new();
    }
    if !except.iter().any(|e| block.contains(e)) {
        return vec![block];
    }
    // Something inside is missing, so it has two halves.
    let halves = block.subnets(block.prefix_len() + 1).expect("it is larger than what is in it");
    halves.flat_map(|half| without(half, except)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_halved_until_nothing_is_missing_inside() {
        let net = |text: &str| text.parse::<IpNet>().unwrap();
        let left = without(net("10.0.0.0/8"), &[net("10.0.0.0/9"), net("10.192.0.0/10"), net("11.0.0.0/8")]);
        assert_eq!(left, [net("10.128.0.0/10")]);
        assert!(without(net("10.0.0.0/8"), &[net("0.0.0.0/0")]).is_empty());
        assert_eq!(without(net("::/0"), &[net("0.0.0.0/0")]), [net("::/0")]);
    }
}
