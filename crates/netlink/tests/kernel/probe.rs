//! The probe of features.

use libtest_mimic::Trial;
use tortie_netlink::{
    nft::{generation, read_tables},
    probe::{Feature, features},
};

use crate::{sandbox::socket, trial};

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("probe::what_the_other_tests_use_is_found", what_the_other_tests_use_is_found)]
}

fn what_the_other_tests_use_is_found() {
    let before = generation(&mut socket()).expect("generation");
    let features = features();
    for feature in Feature::ALL {
        // Newer than the oldest kernel that tortie runs on.
        if feature != Feature::Persist {
            assert_eq!(features.check(feature), Ok(()));
        }
    }
    let mut socket = socket();
    assert_eq!(read_tables(&mut socket).expect("tables"), []);
    assert_eq!(generation(&mut socket).expect("generation").id, before.id, "probing changed the ruleset");
}
