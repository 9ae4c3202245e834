//! Bounds of questions: of each, and of what a role asks at once.

use std::time::Duration;

use crate::access::Role;

/// Bounds of one query.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Rows of an answer; more are cut and the answer says so.
    pub rows: usize,
    /// Time from arrival to the last row.
    pub time: Duration,
    /// Bytes of SQL text.
    pub text_bytes: usize,
    /// Bytes of an answer in memory.
    pub answer_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { rows: 100_000, time: Duration::from_secs(30), text_bytes: 64 << 10, answer_bytes: 256 << 20 }
    }
}

/// Bounds of a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoleLimit {
    /// Rows of an answer.
    pub rows: usize,
    /// Rows of an answer that goes out as it comes: in any format but JSON.
    pub export_rows: usize,
    /// Time from arrival to the last row.
    pub time: Duration,
    /// Questions at once of all who have the role; more wait.
    pub concurrent: usize,
}

/// Bounds of each role that may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoleLimits {
    read: RoleLimit,
    finance: RoleLimit,
    admin: RoleLimit,
}

impl Default for RoleLimits {
    fn default() -> Self {
        let usual = Limits::default();
        let read = RoleLimit { rows: usual.rows, export_rows: 10_000_000, time: usual.time, concurrent: 6 };
        // Reports and exports of a month are long; there are few of them.
        let finance =
            RoleLimit { rows: 1_000_000, export_rows: 10_000_000, time: Duration::from_secs(120), concurrent: 4 };
        Self { read, finance, admin: RoleLimit { concurrent: 8, ..read } }
    }
}

impl RoleLimits {
    /// The bounds of a role; those of `read` for one that may not ask.
    #[must_use]
    pub const fn of(&self, role: Role) -> RoleLimit {
        match role {
            Role::Ingest | Role::Read => self.read,
            Role::Finance => self.finance,
            Role::Admin => self.admin,
        }
    }

    /// To change them.
    pub const fn of_mut(&mut self, role: Role) -> Option<&mut RoleLimit> {
        match role {
            Role::Ingest => None,
            Role::Read => Some(&mut self.read),
            Role::Finance => Some(&mut self.finance),
            Role::Admin => Some(&mut self.admin),
        }
    }
}
