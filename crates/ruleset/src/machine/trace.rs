//! A packet's way through a table, step by step.

use super::{Fate, Fault};
use crate::{Element, Policy, Verdict};

/// What a rule says of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// Nothing: the next rule is asked.
    Next,
    /// A verdict.
    Verdict(&'a Verdict),
    /// The packet is dropped and answered.
    Reject,
}

/// A key that was looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Looked<'a> {
    /// The map.
    pub map: &'a str,
    /// The key, as long as the map's keys.
    pub key: Vec<u8>,
    /// The element that it hit.
    pub found: Option<&'a Element>,
}

/// A rule that was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked<'a> {
    /// Its chain.
    pub chain: &'a str,
    /// Its place in the chain, from 0.
    pub at: usize,
    /// How many jumps deep.
    pub depth: usize,
    /// What it looked up, in order.
    pub looked: Vec<Looked<'a>>,
    /// What it said, or why it could not be asked.
    pub outcome: Result<Outcome<'a>, Fault>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// A base chain begins.
    Begin(&'a str),
    /// A rule is asked.
    Rule(Asked<'a>),
    /// No rule of a base chain has decided: its policy does.
    End(&'a str, Policy),
}

/// The whole way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace<'a> {
    /// Every step, in order.
    pub steps: Vec<Step<'a>>,
    /// What became of the packet.
    pub fate: Result<Fate, Fault>,
}

/// Who writes steps down, or does not.
pub(super) trait Clerk<'a> {
    fn step(&mut self, step: impl FnOnce() -> Step<'a>);
    fn looked(&mut self, looked: impl FnOnce() -> Looked<'a>);
    /// What the rule looked up that was asked last.
    fn take(&mut self) -> Vec<Looked<'a>>;
}

/// Writes nothing down.
pub(super) struct Nobody;

impl<'a> Clerk<'a> for Nobody {
    fn step(&mut self, _: impl FnOnce() -> Step<'a>) {}

    fn looked(&mut self, _: impl FnOnce() -> Looked<'a>) {}

    fn take(&mut self) -> Vec<Looked<'a>> {
        Vec::new()
    }
}

/// Writes everything down.
#[derive(Debug, Default)]
pub(super) struct Diary<'a> {
    pub(super) steps: Vec<Step<'a>>,
    looked: Vec<Looked<'a>>,
}

impl<'a> Clerk<'a> for Diary<'a> {
    fn step(&mut self, step: impl FnOnce() -> Step<'a>) {
        self.steps.push(step());
    }

    fn looked(&mut self, looked: impl FnOnce() -> Looked<'a>) {
        self.looked.push(looked());
    }

    fn take(&mut self) -> Vec<Looked<'a>> {
        std::mem::take(&mut self.looked)
    }
}
