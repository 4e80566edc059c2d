//! The CSRs that hold state, in one list: storage, digest, save and restore come from it.

use state::{Codec, Damaged, State};

use crate::pmp::N_PMP;

macro_rules! state {
    ($( $name:ident )*) => {
        /// What CSRs remember. Views (`sstatus`, `sie`, …) have no storage of their own.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        #[expect(missing_docs, reason = "the CSR's name is the documentation")]
        pub struct Csrs {
            $( pub $name: u64, )*
            pub pmpcfg: [u64; N_PMP],
            pub pmpaddr: [u64; N_PMP],
        }

        impl Csrs {
            /// Every word of state, in a fixed order.
            pub fn for_each(&self, mut f: impl FnMut(u64)) {
                $( f(self.$name); )*
                self.pmpcfg.iter().for_each(|word| f(*word));
                self.pmpaddr.iter().for_each(|word| f(*word));
            }
        }

        impl State for Csrs {
            fn state(&mut self, codec: &mut Codec<'_>) -> Result<(), Damaged> {
                $( codec.u64(&mut self.$name)?; )*
                codec.words(&mut self.pmpcfg)?;
                codec.words(&mut self.pmpaddr)?;
                codec.check(self.are_legal(), "a CSR holds what it cannot hold")
            }
        }
    };
}

state! {
    // Machine. `mip` holds what software wrote; wires and timers are added when it is read.
    mstatus medeleg mideleg mie mip mtvec mcounteren mcountinhibit menvcfg
    mscratch mepc mcause mtval mtval2 mtinst
    // What `mcycle` and `minstret` are ahead of the counters that they derive from.
    mcycle minstret
    // Supervisor.
    stvec scounteren senvcfg sscratch sepc scause stval satp stimecmp
    // Hypervisor.
    hstatus hedeleg hideleg hcounteren hgeie htval htinst henvcfg hgatp htimedelta
    // The guest.
    vsstatus vstvec vsscratch vsepc vscause vstval vsatp vstimecmp
    // User.
    fflags frm
    // DV-ext.
    sedeleg sideleg h_vmid utvec uscratch uepc ucause utval
    hustatus hutimedelta hucounteren hutval hutinst hugatp
    vtimecmp vtimectl hu_vcpuid
}
