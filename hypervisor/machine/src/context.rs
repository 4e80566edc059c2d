//! What harts' users that take turns on the same harts have each of their own: who takes part,
//! whose turn it is, and the clock.

use hart::Post;
use state::{Codec, Damaged, State};

use crate::machine::{HartState, clock_state};
use crate::platform::posts_state;
use crate::schedule::Schedule;

/// A schedule and a clock, for some of the harts of a machine. A machine has one at a time, and
/// [`Machine::swap_context`](crate::Machine::swap_context) gives it another one; registers, memory
/// and the vCPU registry stay where they are.
#[derive(Clone, Debug)]
pub struct Context {
    pub(crate) states: Vec<HartState>,
    pub(crate) schedule: Schedule,
    pub(crate) steps: u64,
    pub(crate) now_ns: u64,
    pub(crate) alarm_ns: Option<u64>,
    /// On their way when the context was put away.
    pub(crate) posts: Vec<Post>,
}

impl Context {
    /// All harts are stopped, and it is time zero.
    pub(crate) fn new(n_harts: usize, quantum: u64) -> Self {
        Self {
            states: vec![HartState::Stopped; n_harts],
            schedule: Schedule::new(n_harts, quantum),
            steps: 0,
            now_ns: 0,
            alarm_ns: None,
            posts: Vec::new(),
        }
    }

    /// Feeds it to a hash.
    pub fn digest(&self, sink: &mut dyn FnMut(&[u8])) {
        let mut feed = |word: u64| sink(&word.to_le_bytes());
        feed(self.steps);
        feed(self.now_ns);
        feed(self.alarm_ns.unwrap_or(u64::MAX));
        self.states.iter().for_each(|state| feed(*state as u64));
        self.schedule.digest(&mut feed);
        for post in &self.posts {
            feed(u64::from(post.vmid) << 16 | u64::from(post.vcpu));
            feed(u64::from(post.interrupt) << 1 | u64::from(post.level));
        }
    }
}

impl State for Context {
    fn state(&mut self, codec: &mut Codec<'_>) -> Result<(), Damaged> {
        codec.each(&mut self.states, |codec, state| state.state(codec))?;
        self.schedule.state(codec)?;
        clock_state(codec, &mut self.steps, &mut self.now_ns, &mut self.alarm_ns)?;
        posts_state(codec, &mut self.posts)
    }
}
