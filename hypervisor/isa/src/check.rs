//! The checks that DV-ext and its driver make, by the numbers of the chapter (table)

macro_rules! checks {
    ($( $part:literal { $( $number:literal $check:ident $rule:literal; )* } )*) => {
        /// A check that isolation rests on. Its documentation is the rule.
        #[repr(u8)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Check { $( $( #[doc = $rule] $check = $number, )* )* }

        impl Check {
            /// All of them by rising number.
            pub const ALL: &'static [Self] = &[$( $( Self::$check, )* )*];

            /// Its number in the chapter.
            pub const fn number(self) -> u8 {
                self as u8
            }

            /// The rule that it holds.
            pub const fn rule(self) -> &'static str {
                match self { $( $( Self::$check => $rule, )* )* }
            }

            /// What it is about, as the chapter groups them.
            pub const fn part(self) -> &'static str {
                match self { $( $( Self::$check => $part, )* )* }
            }
        }
    };
}

checks! {
    "CSRs" {
        1 HuCsrInU "in U, a CSR of HU is an illegal instruction";
        2 HuCsrInGuest "with V=1, a CSR of DV-ext is a virtual instruction";
        3 VipiNeedsVie "with V=1, `vipi*` are a virtual instruction without VIE or `hstatus.HU`";
        4 KernelCsrInHu "in HU, `sedeleg`, `sideleg` and `h_vmid` are illegal instructions";
        5 HugatpReadOnly "in HU, a write of `hugatp` is an illegal instruction";
        6 VitrWriteOnly "a read of `hu_vitr` is an illegal instruction";
        7 TimerNeedsStce "in HU, `huvstimecmp` is illegal without STCE of menvcfg and henvcfg";
        8 SedelegBits "`sedeleg` holds no bit but those of the table";
        9 SidelegBits "`sideleg` holds no bit but those of the table";
        10 HedelegBits "`hedeleg` holds no guest-page fault, virtual instruction or call from VS";
        11 GatpMode "a write of a MODE that is not there leaves the MODE of `hugatp` as it was";
        12 TaOfHardware "a write from HU leaves TA as it is";
        13 HuieBits "a write of `huie` changes no enable but those of HU";
        14 HuipBits "a write of `huip` changes no pending bit but USIP and UEIP";
        15 HuipShown "`uip` and `huip` show no pending bit but those of HU";
        16 HuieShown "`uie` and `huie` show no enable but those of HU";
        17 HuvipBits "a write of `huvip` changes no pending bit but those of the guest";
        18 VtimectlIrq "IRQ of `vtimectl` is 4 or 6; another value leaves it as it was";
    }
    "Instructions" {
        19 HuretInGuest "with V=1, `huret` is a virtual instruction";
        20 HuretOutsideHu "with V=0, `huret` is illegal everywhere but in HU";
        21 HuretNeverRises "`huret` with SPV clear goes to U, whatever SPVP is";
        22 HufenceInGuest "with V=1, `hufence.*` is a virtual instruction";
        23 HufenceOutsideHu "with V=0, `hufence.*` is illegal everywhere but in HU";
        24 AccessInGuest "with V=1, a guest load or store is a virtual instruction";
        25 AccessInU "in U, a guest load or store is an illegal instruction";
        26 AccessFlagged "in HU, a guest load or store that faults sets GLF and does not trap";
        27 AccessPrivilege "in HU, a guest load or store has the privilege of `hustatus.SPVP`";
    }
    "Traps" {
        28 FaultToKernel "a DV fault goes to HS, whatever is delegated";
        29 WindowToKernel "an access fault of a guest of HU goes to HS, whatever is delegated";
        30 KernelsOwn "a trap of HS does not go to HU";
        31 ExceptionNeedsHu "an exception goes to HU only while `hstatus.HU` is set";
        32 InterruptNeedsHu "an interrupt goes to HU only while `hstatus.HU` is set";
        33 NestedToKernel "a trap of HU while TA is set goes to HS";
        34 EntrySetsTa "trap entry to HU sets TA";
        35 EntryMasks "trap entry to HU clears UIE";
        36 HuMasked "HU takes no interrupt of its own while UIE is clear";
        37 KernelFirst "an interrupt of M or HS is taken before one of HU or of the guest";
    }
    "Posting" {
        38 VcpuidKnown "HU writes no id to `hu_vcpuid` that is not one of its virtual machine";
        39 PostKnown "an id in `hu_vitr` or `vipi0` to `vipi3` is one of its virtual machine";
        40 PostInterrupt "`hu_vitr` posts no interrupt but 2, 6, 10 and 0";
    }
    "Physical memory" {
        41 DefaultDeny "a guest of HU reaches no page that no window has";
        42 WindowRights "a guest of HU does in a window only what its R, W and X allow";
        43 HostNotBound "an entry with V set binds no access but those of a guest of HU";
        44 GuestNotServed "an entry with V clear opens nothing to a guest of HU";
        45 AddressInWindow "the physical address of a guest's access is in a window";
        46 AccessInWindow "the physical address of a guest load or store of HU is in a window";
        47 GuestTableInWindow "an entry of a G-stage table is read from a window";
        48 TableInWindow "an entry of a VS-stage table is read from a window";
        49 UpdateInWindow "A and D are written to entries in windows that can be written";
        50 RevokedCfg "a write of `pmpcfg` drops what was translated before";
        51 RevokedAddr "a write of `pmpaddr` drops what was translated before";
        52 TaggedByRoot "a translation of one virtual machine is never used for another";
        53 TaggedByHu "a translation of a guest of HS is never used for a guest of HU";
        54 RootOfHu "a guest of HU is translated by `hugatp`, never by `hgatp`";
    }
    "Driver: what a virtual machine is given" {
        55 AskedExceptions "a request for exceptions that may not be delegated is refused";
        56 AskedInterrupts "a request for interrupts that may not be delegated is refused";
        57 KeptFromGuest "an exception that HU asked for is not the guest's";
        58 WholePages "a window is whole pages";
        59 WindowsApart "memory of a virtual machine is nobody else's";
        60 WindowCount "a window that `pmpcfg` has no room for is refused";
        61 CodeInRam "the guest executes from its RAM, not from the pool of tables";
        62 VcpuOfVm "a VM plane that names a vCPU of somebody else is stopped";
        63 HuNotInGuest "the VM plane acts for a vCPU only while its hart is in HU";
        64 OwnVcpuid "a hart runs the vCPU that the driver put there";
        65 ReadInWindow "the VM plane reads no memory but its windows";
        66 WriteInWindow "the VM plane and its devices write no memory but their windows";
        67 SpareOnly "a virtual machine grows by no more memory than it announced";
        68 TimeOfAll "the clock jumps only while nobody can run, and to the next timer at most";
    }
    "Driver: its end" {
        69 KilledStays "a virtual machine that was stopped does not run again";
        70 EndStops "the harts of a virtual machine that is taken away stop";
        71 EndForgets "what was posted to it is dropped, and its ids are nobody's";
        72 EndResets "its harts are reset: no register, counter, window or translation is left";
        73 EndScrubs "its memory is zero before anybody gets it";
    }
}
