//! Every case under `conformance/`, with packets.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tortie_lab::player;
use tortie_manifest::case::{Case, open};
use tortie_manifest::{Disk, LoadOptions};
use tortie_testkit::{By, decided};

use crate::seen::{all_hold, observations, some};
use crate::{Result, World};

/// Clusters at once: they mostly wait for the kernel's own grace times.
const AT_ONCE: usize = 4;

/// Plays them all.
pub(crate) fn every_case(world: &World) -> Result {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance");
    let found = open(&Disk, path.to_str().ok_or("UTF-8")?, &LoadOptions::default());
    if let Some(diagnostic) = found.diagnostics.first() {
        return Err(diagnostic.text().into());
    }
    let cases = found.cases.len();
    let waiting: Mutex<VecDeque<Case>> = Mutex::new(found.cases.into());
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let play = || -> Result<usize> {
        let mut packets = 0;
        while let Some(case) = next() {
            let path = case.path.clone();
            packets += one(world, case).map_err(|e| some(&path, &[e.to_string()]))?;
        }
        Ok(packets)
    };
    let packets = std::thread::scope(|scope| -> Result<usize> {
        let running: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(play)).collect();
        let mut packets = 0;
        for player in running {
            packets += player.join().map_err(|_| "a player panicked")??;
        }
        Ok(packets)
    })?;
    println!("{cases} cases, {packets} packets");
    decided(By::Packets, packets);
    Ok(())
}

fn one(world: &World, case: Case) -> Result<usize> {
    if !case.is_playable() {
        return Err(some("not playable", &case.diagnostics.iter().map(|d| d.text()).collect::<Vec<_>>()));
    }
    let reports = player::play(&world.sandbox, Arc::new(case), None, |_| {})?;
    let packets = observations(&reports).count();
    all_hold(&reports, packets.max(1))?;
    Ok(packets)
}
