//! The driver's scheduler: VMs that share harts take turns on them, round robin.

use std::collections::VecDeque;

use dv::Dv;

use crate::config::{CreateError, VmRequest};
use crate::driver::Driver;
use crate::hu::Hu;

/// A VM plane whose VM takes turns with others.
pub trait Plane {
    /// Its view of the hardware.
    fn hu(&mut self) -> &mut Hu;

    /// Its VM has the harts: lets it run until `Dv::wait` says `StepLimit`, or until it ends. Who
    /// comes back earlier gives the rest of the shift away.
    fn run(&mut self) -> Next;
}

/// What becomes of a VM after its shift.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It has another shift when the others have had theirs.
    Again,
    /// It is over: the driver takes it away.
    Over,
}

/// What [`Scheduler::run_shift`] did.
#[derive(Debug)]
pub enum Shift<P> {
    /// Nothing: there is no VM.
    Nobody,
    /// A VM had its shift, and goes on.
    Done,
    /// A VM had its last shift. It is no more: its memory is zero, its id free.
    Left(P),
}

/// VMs over one driver that take turns.
///
/// ```text
///   A  ████████        ████████        ██ its end
///   B          ████████        ████████  ████████████████
///              │ off: A's harts are saved as HS sees them, its context is put away
///              └ on:  B's windows, registers, clock and turns are back
/// ```
/// A VM has its harts for a shift of steps, with all of its vCPUs. Its clock stands still while it
/// does not have them, so that all it can see is a function of itself: what its own vCPUs did, and
/// how long all of them waited. A shift ends between any two steps; a VM whose vCPUs all wait does
/// not use its shift up, since guest time goes on to the next deadline at once.
///
/// Nothing preempts a VM plane, which is host code here: it gives the harts back when [`Dv::wait`]
/// says [`StepLimit`](dv::Woken::StepLimit). No switch is a call of a VM.
#[derive(Debug)]
pub struct Scheduler<P> {
    // Fixed configuration.
    /// Steps of a shift.
    shift: u64,
    // Runtime state.
    /// Whoever has a shift has the driver, too, and its stand-in is here.
    driver: Driver,
    /// By id, the next one first.
    ring: VecDeque<(u16, P)>,
}

impl<P: Plane> Scheduler<P> {
    /// No VM yet. A shift has so many steps, at least one.
    #[must_use]
    pub fn new(driver: Driver, shift: u64) -> Self {
        Self { shift: shift.max(1), driver, ring: VecDeque::new() }
    }

    /// The driver.
    #[must_use]
    pub fn driver(&self) -> &Driver {
        &self.driver
    }

    /// The driver. VMs that are created here take no turns.
    pub fn driver_mut(&mut self) -> &mut Driver {
        &mut self.driver
    }

    /// The VMs' ids and VM planes, the next one first. Their views show nothing now; see
    /// [`Scheduler::with`].
    pub fn planes(&self) -> impl Iterator<Item = (u16, &P)> {
        self.ring.iter().map(|(vmid, plane)| (*vmid, plane))
    }

    /// Creates a VM, which has its shift after all others, and says its id. `assemble` makes the VM
    /// plane of its view, and has to put the view into what it makes: with it goes the driver.
    ///
    /// # Errors
    /// [`CreateError`] says what cannot be had; nothing has changed then.
    pub fn add(
        &mut self,
        request: &VmRequest,
        assemble: impl FnOnce(Hu) -> P,
    ) -> Result<u16, CreateError> {
        let id = self.driver.vm_create(request)?;
        let vmid = id.vmid();
        let mut hu = Hu::without(id);
        hu.take_driver(&mut self.driver);
        let mut plane = assemble(hu);
        plane.hu().give_driver(&mut self.driver);
        self.ring.push_back((vmid, plane));
        Ok(vmid)
    }

    /// Gives the next VM its shift. A VM that ended, or that was killed, leaves.
    pub fn run_shift(&mut self) -> Shift<P> {
        let Some((vmid, mut plane)) = self.ring.pop_front() else { return Shift::Nobody };
        let hu = plane.hu();
        hu.take_driver(&mut self.driver);
        hu.begin_shift(Some(self.shift));
        let next = plane.run();
        let hu = plane.hu();
        hu.begin_shift(None);
        let killed = hu.reason().is_some();
        hu.give_driver(&mut self.driver);
        if next == Next::Over || killed {
            self.driver.vm_destroy(plane.hu().take_id());
            return Shift::Left(plane);
        }
        self.ring.push_back((vmid, plane));
        Shift::Done
    }

    /// Gives all VMs their shifts until none is left, and says what became of their VM planes.
    pub fn run(&mut self) -> Vec<(u16, P)> {
        let mut left = Vec::new();
        loop {
            let next = self.ring.front().map_or(0, |(vmid, _)| *vmid);
            match self.run_shift() {
                Shift::Nobody => return left,
                Shift::Done => {}
                Shift::Left(plane) => left.push((next, plane)),
            }
        }
    }

    /// Looks at a VM between shifts, on its harts. `None` if there is no such VM.
    pub fn with<R>(&mut self, vmid: u16, look: impl FnOnce(&mut P) -> R) -> Option<R> {
        let (_, plane) = self.ring.iter_mut().find(|(other, _)| *other == vmid)?;
        plane.hu().take_driver(&mut self.driver);
        let seen = look(plane);
        plane.hu().give_driver(&mut self.driver);
        Some(seen)
    }

    /// Takes a VM away, whatever it is doing, and gives its VM plane back.
    pub fn remove(&mut self, vmid: u16) -> Option<P> {
        let at = self.ring.iter().position(|(other, _)| *other == vmid)?;
        let (_, mut plane) = self.ring.remove(at)?;
        self.driver.vm_destroy(plane.hu().take_id());
        Some(plane)
    }
}
