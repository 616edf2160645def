//! Numbers of the nf_tables protocol (`include/uapi/linux/netfilter/nf_tables.h`, `nfnetlink.h`).

/// `NFNL_SUBSYS_NFTABLES`, in the high byte of the message type.
pub(crate) const SUBSYSTEM: u16 = 10 << 8;
/// `NFNL_MSG_BATCH_BEGIN`.
pub(crate) const BATCH_BEGIN: u16 = 0x10;
/// `NFNL_MSG_BATCH_END`.
pub(crate) const BATCH_END: u16 = 0x11;
/// `NFNL_BATCH_GENID`.
pub(crate) const BATCH_GENID: u16 = 1;
/// Resource id of a batch: the subsystem it is for.
pub(crate) const BATCH_RESOURCE: u16 = 10;
/// `NFNLGRP_NFTABLES`.
pub(crate) const GROUP_NFTABLES: u32 = 7;

/// `enum nf_tables_msg_types`.
pub(crate) mod msg {
    use super::SUBSYSTEM;
    pub(crate) const NEWTABLE: u16 = SUBSYSTEM;
    pub(crate) const GETTABLE: u16 = SUBSYSTEM | 1;
    pub(crate) const DELTABLE: u16 = SUBSYSTEM | 2;
    pub(crate) const NEWCHAIN: u16 = SUBSYSTEM | 3;
    pub(crate) const GETCHAIN: u16 = SUBSYSTEM | 4;
    pub(crate) const DELCHAIN: u16 = SUBSYSTEM | 5;
    pub(crate) const NEWRULE: u16 = SUBSYSTEM | 6;
    pub(crate) const GETRULE: u16 = SUBSYSTEM | 7;
    pub(crate) const DELRULE: u16 = SUBSYSTEM | 8;
    pub(crate) const NEWSET: u16 = SUBSYSTEM | 9;
    pub(crate) const GETSET: u16 = SUBSYSTEM | 10;
    pub(crate) const DELSET: u16 = SUBSYSTEM | 11;
    pub(crate) const NEWSETELEM: u16 = SUBSYSTEM | 12;
    pub(crate) const GETSETELEM: u16 = SUBSYSTEM | 13;
    pub(crate) const DELSETELEM: u16 = SUBSYSTEM | 14;
    pub(crate) const NEWGEN: u16 = SUBSYSTEM | 15;
    pub(crate) const GETGEN: u16 = SUBSYSTEM | 16;
}

/// `NFTA_LIST_ELEM`.
pub(crate) const LIST_ELEM: u16 = 1;

/// `NFTA_TABLE_*`.
pub(crate) mod table {
    pub(crate) const NAME: u16 = 1;
    pub(crate) const FLAGS: u16 = 2;
    pub(crate) const HANDLE: u16 = 4;
    pub(crate) const OWNER: u16 = 7;
}

/// `NFTA_CHAIN_*` and `NFTA_HOOK_*`.
pub(crate) mod chain {
    pub(crate) const TABLE: u16 = 1;
    pub(crate) const NAME: u16 = 3;
    pub(crate) const HOOK: u16 = 4;
    pub(crate) const POLICY: u16 = 5;
    pub(crate) const TYPE: u16 = 7;
    pub(crate) const HOOK_NUMBER: u16 = 1;
    pub(crate) const HOOK_PRIORITY: u16 = 2;
}

/// `NFTA_RULE_*`.
pub(crate) mod rule {
    pub(crate) const TABLE: u16 = 1;
    pub(crate) const CHAIN: u16 = 2;
    pub(crate) const HANDLE: u16 = 3;
    pub(crate) const EXPRESSIONS: u16 = 4;
    pub(crate) const POSITION: u16 = 6;
    pub(crate) const USERDATA: u16 = 7;
    /// `NFTNL_UDATA_RULE_COMMENT` of libnftnl.
    pub(crate) const USERDATA_COMMENT: u8 = 0;
}

/// `NFTA_SET_*` and `NFT_SET_*`.
pub(crate) mod set {
    pub(crate) const TABLE: u16 = 1;
    pub(crate) const NAME: u16 = 2;
    pub(crate) const FLAGS: u16 = 3;
    pub(crate) const KEY_TYPE: u16 = 4;
    pub(crate) const KEY_LEN: u16 = 5;
    pub(crate) const DATA_TYPE: u16 = 6;
    pub(crate) const DATA_LEN: u16 = 7;
    pub(crate) const DESC: u16 = 9;
    pub(crate) const ID: u16 = 10;
    pub(crate) const EXPR: u16 = 17;
    pub(crate) const EXPRESSIONS: u16 = 18;
    pub(crate) const DESC_SIZE: u16 = 1;
    pub(crate) const DESC_CONCAT: u16 = 2;
    pub(crate) const FIELD_LEN: u16 = 1;
    pub(crate) const F_INTERVAL: u32 = 4;
    pub(crate) const F_MAP: u32 = 8;
    pub(crate) const F_TIMEOUT: u32 = 0x10;
    pub(crate) const F_CONCAT: u32 = 0x80;
    /// `NFT_DATA_VERDICT`.
    pub(crate) const DATA_VERDICT: u32 = 0xffff_ff00;
}

/// `NFTA_SET_ELEM_*` and `NFTA_SET_ELEM_LIST_*`.
pub(crate) mod element {
    pub(crate) const LIST_TABLE: u16 = 1;
    pub(crate) const LIST_SET: u16 = 2;
    pub(crate) const LIST_ELEMENTS: u16 = 3;
    pub(crate) const KEY: u16 = 1;
    pub(crate) const DATA: u16 = 2;
    pub(crate) const FLAGS: u16 = 3;
    pub(crate) const EXPR: u16 = 7;
    pub(crate) const KEY_END: u16 = 10;
    pub(crate) const EXPRESSIONS: u16 = 11;
    pub(crate) const F_INTERVAL_END: u32 = 1;
    pub(crate) const F_CATCHALL: u32 = 2;
}

/// `NFTA_DATA_*`, `NFTA_VERDICT_*` and `enum nft_verdicts`.
pub(crate) mod data {
    pub(crate) const VALUE: u16 = 1;
    pub(crate) const VERDICT: u16 = 2;
    pub(crate) const VERDICT_CODE: u16 = 1;
    pub(crate) const VERDICT_CHAIN: u16 = 2;
    pub(crate) const DROP: i32 = 0;
    pub(crate) const ACCEPT: i32 = 1;
    pub(crate) const CONTINUE: i32 = -1;
    pub(crate) const JUMP: i32 = -3;
    pub(crate) const GOTO: i32 = -4;
    pub(crate) const RETURN: i32 = -5;
}

/// `NFTA_GEN_*`.
pub(crate) mod generation {
    pub(crate) const ID: u16 = 1;
    pub(crate) const PID: u16 = 2;
    pub(crate) const NAME: u16 = 3;
}
