//! An adversarial VM plane and its guest: what each tries, and which checks hold it (table)

use isa::Check;

mod book;
mod csrs;
mod given;
mod instructions;
mod lifetime;
mod memory;
mod posting;
mod scene;
mod translations;
mod traps;

/// A test that attacks.
#[derive(Clone, Copy)]
pub(crate) struct Attack {
    /// Its module and name.
    pub(crate) name: &'static str,
    pub(crate) run: fn(),
    /// Without any one of these it succeeds.
    pub(crate) held_by: &'static [Check],
}

macro_rules! attacks {
    ($( $module:ident { $( $name:ident [$( $check:ident )*]; )* } )*) => {
        /// All of them.
        pub(crate) const ATTACKS: &[Attack] = &[$($(
            Attack {
                name: concat!(stringify!($module), "::", stringify!($name)),
                run: $module::$name,
                held_by: &[$( Check::$check, )*],
            },
        )*)*];
    };
}

#[rustfmt::skip]
attacks! {
    csrs {
        a_thread_that_is_not_hu_reaches_no_csr_of_hu [HuCsrInU];
        a_guest_reaches_no_csr_of_its_vm_plane [HuCsrInGuest];
        a_guest_that_may_not_post_gets_a_virtual_instruction [VipiNeedsVie];
        hu_does_not_widen_what_is_delegated_to_it [KernelCsrInHu];
        hu_does_not_move_the_root_of_its_table [HugatpReadOnly];
        what_was_posted_is_not_read_back [VitrWriteOnly];
        a_timer_that_the_kernel_keeps_is_not_set_by_hu [TimerNeedsStce];
        a_kernel_that_delegates_every_exception_keeps_its_own [SedelegBits];
        a_kernel_that_delegates_every_interrupt_keeps_its_own [SidelegBits];
        a_kernel_that_delegates_everything_to_the_guest_keeps_stage_two_from_it [HedelegBits];
        a_mode_that_is_not_there_does_not_turn_stage_two_off [GatpMode];
        hu_does_not_say_that_it_handles_no_trap [TaOfHardware EntrySetsTa];
        hu_enables_no_interrupt_of_the_kernel [HuieBits];
        hu_raises_no_interrupt_of_the_kernel [HuipBits];
        hu_injects_no_interrupt_of_the_kernel [HuvipBits];
        hu_does_not_see_what_interrupts_the_kernel [HuipShown];
        hu_does_not_see_what_the_kernel_waits_for [HuieShown];
        hus_timer_raises_no_interrupt_of_the_kernel [VtimectlIrq];
        no_csr_number_reaches_the_kernel_from_u_hu_vs_or_vu
            [HuCsrInU HuCsrInGuest VipiNeedsVie KernelCsrInHu HugatpReadOnly VitrWriteOnly];
    }
    instructions {
        huret_with_spvp_alone_does_not_enter_the_kernel [HuretNeverRises];
        huret_in_the_guest_does_not_return [HuretInGuest];
        huret_elsewhere_does_not_enter_the_guest [HuretOutsideHu];
        a_guest_does_not_fence_for_its_vm_plane [HufenceInGuest];
        nobody_but_hu_fences_as_hu [HufenceOutsideHu];
        a_guest_does_not_access_its_memory_as_its_vm_plane [AccessInGuest];
        a_thread_that_is_not_hu_does_not_access_guest_memory [AccessInU];
        an_address_that_a_guest_made_up_does_not_trap_its_handler [AccessFlagged];
        the_vm_plane_is_no_deputy_of_the_guests_user [AccessPrivilege];
        the_vm_plane_does_not_act_for_a_vcpu_that_is_in_its_guest [HuNotInGuest];
        hu_executes_no_instruction_of_the_kernel [];
        no_instruction_reaches_the_kernel_from_u_hu_vs_or_vu [HuretNeverRises];
    }
    traps {
        a_dv_fault_goes_to_the_kernel_whatever_is_delegated [FaultToKernel PostKnown VcpuidKnown];
        an_access_outside_goes_to_the_kernel_whatever_is_delegated [WindowToKernel];
        a_trap_of_the_kernel_does_not_go_to_hu [KernelsOwn];
        an_interrupt_of_hu_does_not_leave_the_kernel [];
        a_trap_of_a_thread_that_is_not_hu_does_not_go_to_hu [ExceptionNeedsHu];
        a_kick_does_not_reach_a_thread_that_is_not_hu [InterruptNeedsHu];
        a_trap_in_the_handler_does_not_overwrite_what_it_handles [NestedToKernel EntrySetsTa];
        a_guest_that_makes_its_handler_trap_gains_nothing [AccessFlagged];
        a_handler_is_not_interrupted_before_it_is_ready [EntryMasks HuMasked];
        hu_that_masks_its_interrupts_is_not_interrupted [HuMasked];
        a_storm_of_posts_does_not_hold_back_the_kernels_interrupts [KernelFirst];
        a_trap_that_nobody_was_given_goes_to_the_kernel [];
    }
    posting {
        hu_does_not_claim_a_vcpu_that_is_not_of_its_vm [VcpuidKnown];
        a_hart_does_not_take_the_vcpu_of_another_hart [OwnVcpuid];
        a_post_to_a_vcpu_of_a_neighbour_stops_the_vm [PostKnown];
        a_guest_that_posts_to_a_vcpu_of_a_neighbour_stops_its_vm [PostKnown FaultToKernel];
        a_storm_of_posts_reaches_only_the_vm_that_posts [];
        a_post_of_an_interrupt_of_the_kernel_is_a_dv_fault [PostInterrupt];
        a_guest_posts_nothing_but_its_software_interrupt [];
        a_guest_that_posts_without_end_fills_no_memory [];
        a_vm_plane_that_names_an_absent_vcpu_is_stopped [VcpuOfVm];
    }
    memory {
        a_leaf_that_names_a_neighbours_page_stops_the_vm [DefaultDeny AddressInWindow];
        a_leaf_that_names_a_neighbours_table_stops_the_vm [DefaultDeny AddressInWindow];
        a_leaf_that_names_the_hosts_memory_stops_the_vm [DefaultDeny AddressInWindow];
        a_leaf_that_names_no_memory_stops_the_vm [];
        a_gigapage_over_all_of_memory_opens_only_the_windows [DefaultDeny AddressInWindow];
        an_access_across_the_end_of_a_window_moves_nothing [DefaultDeny AddressInWindow];
        an_instruction_across_the_end_of_a_window_is_not_executed [DefaultDeny AddressInWindow];
        a_table_of_the_host_or_of_a_neighbour_is_not_walked [DefaultDeny GuestTableInWindow];
        a_guests_own_table_outside_is_not_walked [DefaultDeny TableInWindow];
        a_and_d_are_not_set_where_a_window_is_read_only [WindowRights UpdateInWindow];
        the_loads_and_stores_of_hu_stay_in_the_windows [DefaultDeny AccessInWindow];
        a_guest_that_edits_its_own_table_stays_in_its_windows [DefaultDeny AddressInWindow];
        a_window_gives_no_more_than_its_rights [WindowRights];
        code_in_the_pool_of_tables_is_not_executed [CodeInRam WindowRights];
        windows_bind_nobody_but_the_guest [HostNotBound];
        what_the_host_may_reach_the_guest_may_not [GuestNotServed];
        a_guest_of_hu_is_not_translated_by_the_kernels_root [RootOfHu];
        a_vm_plane_reads_nothing_outside_of_its_windows [ReadInWindow];
        a_vm_plane_and_its_devices_write_nothing_outside_of_its_windows [WriteInWindow];
        a_request_of_a_length_that_overflows_is_refused [ReadInWindow];
    }
    translations {
        a_window_that_is_turned_off_while_mapped_is_closed_at_once [RevokedCfg];
        a_window_that_is_moved_while_mapped_is_closed_at_once [RevokedAddr];
        a_window_that_is_closed_is_closed_to_guest_loads_of_hu [AccessInWindow];
        a_page_that_is_taken_back_is_gone_without_a_fence [AddressInWindow];
        a_window_follows_the_vm_to_all_its_harts_and_no_other [];
        what_one_vm_translated_is_not_used_for_the_next_on_its_hart [TaggedByRoot];
        what_a_guest_of_the_kernel_reached_a_guest_of_hu_does_not [TaggedByHu];
    }
    given {
        a_request_for_exceptions_of_the_kernel_is_refused [AskedExceptions];
        a_request_for_interrupts_of_the_kernel_is_refused [AskedInterrupts];
        a_guest_does_not_hide_from_the_vm_plane_what_it_asked_for [KeptFromGuest];
        a_window_does_not_end_within_a_page_of_somebody_else [WholePages];
        a_request_that_overflows_is_refused [];
        no_two_vms_have_the_same_memory [WindowsApart];
        a_window_that_no_hart_could_check_is_not_granted [WindowCount];
        a_vm_does_not_take_all_the_memory_that_is_left [SpareOnly];
        a_vm_has_the_memory_that_it_announced_whatever_others_took [];
        a_vm_plane_does_not_move_the_clock_of_those_who_run [TimeOfAll];
        a_vm_plane_does_not_take_the_alarm_of_a_neighbour [];
    }
    lifetime {
        a_vm_that_was_stopped_does_not_run_again [KilledStays];
        a_vm_that_was_stopped_does_not_run_while_a_neighbour_does [KilledStays];
        a_vm_plane_that_dies_at_any_step_leaves_nothing_behind
            [EndStops EndForgets EndResets EndScrubs];
        the_harts_of_a_destroyed_vm_stop [EndStops];
        the_registers_and_windows_of_a_destroyed_vm_are_gone [EndResets];
        the_memory_of_a_destroyed_vm_is_zero_before_it_is_granted_again [EndScrubs];
        a_recycled_vm_id_gets_no_post_of_its_last_owner [EndForgets];
        a_recycled_vm_id_has_no_vcpu_of_its_last_owner [EndForgets];
        a_recycled_vm_id_uses_no_translation_of_its_last_owner [EndScrubs];
        a_new_vm_does_not_read_how_long_its_hart_has_worked [];
        a_vm_that_ends_takes_no_hart_or_memory_with_it [];
        the_driver_is_not_called_by_a_guest_or_a_stopped_vm_plane [];
        a_storm_of_timers_does_not_starve_a_neighbour [];
        a_vm_plane_that_waits_for_none_of_its_traps_fills_no_memory [];
    }
}

/// What was open in the published artefact, or is claimed of the design, and what is tried of it.
#[rustfmt::skip]
pub(crate) const GOALS: &[(&str, &[&str])] = &[
    ("reach an address outside of the VM from its guest, through a table that the VM plane wrote",
        &["memory::a_leaf_that_names_a_neighbours_page_stops_the_vm",
        "memory::a_leaf_that_names_a_neighbours_table_stops_the_vm",
        "memory::a_leaf_that_names_the_hosts_memory_stops_the_vm",
        "memory::a_leaf_that_names_no_memory_stops_the_vm",
        "memory::a_gigapage_over_all_of_memory_opens_only_the_windows",
        "memory::an_access_across_the_end_of_a_window_moves_nothing",
        "memory::the_loads_and_stores_of_hu_stay_in_the_windows"]),
    ("have a table of somebody else walked",
        &["memory::a_table_of_the_host_or_of_a_neighbour_is_not_walked",
        "memory::a_guests_own_table_outside_is_not_walked",
        "memory::a_and_d_are_not_set_where_a_window_is_read_only"]),
    ("let the guest edit the table that translates it",
        &["memory::a_guest_that_edits_its_own_table_stays_in_its_windows",
        "memory::code_in_the_pool_of_tables_is_not_executed"]),
    ("move the root of the table, or turn translation off",
        &["csrs::hu_does_not_move_the_root_of_its_table",
        "csrs::a_mode_that_is_not_there_does_not_turn_stage_two_off",
        "memory::a_guest_of_hu_is_not_translated_by_the_kernels_root"]),
    ("use what was translated before a window was closed, or for another VM",
        &["translations::a_window_that_is_turned_off_while_mapped_is_closed_at_once",
        "translations::a_window_that_is_moved_while_mapped_is_closed_at_once",
        "translations::a_page_that_is_taken_back_is_gone_without_a_fence",
        "translations::what_one_vm_translated_is_not_used_for_the_next_on_its_hart",
        "translations::what_a_guest_of_the_kernel_reached_a_guest_of_hu_does_not"]),
    ("suffer from windows as a program of the host, or profit from them",
        &["memory::windows_bind_nobody_but_the_guest",
        "memory::what_the_host_may_reach_the_guest_may_not",
        "translations::a_window_follows_the_vm_to_all_its_harts_and_no_other"]),
    ("enter the kernel with `huret`",
        &["instructions::huret_with_spvp_alone_does_not_enter_the_kernel",
        "instructions::huret_in_the_guest_does_not_return",
        "instructions::huret_elsewhere_does_not_enter_the_guest"]),
    ("use CSRs and instructions of HU as another thread, or as a guest",
        &["csrs::a_thread_that_is_not_hu_reaches_no_csr_of_hu",
        "csrs::a_guest_reaches_no_csr_of_its_vm_plane",
        "csrs::no_csr_number_reaches_the_kernel_from_u_hu_vs_or_vu",
        "instructions::no_instruction_reaches_the_kernel_from_u_hu_vs_or_vu",
        "instructions::a_thread_that_is_not_hu_does_not_access_guest_memory",
        "instructions::a_guest_does_not_access_its_memory_as_its_vm_plane",
        "instructions::nobody_but_hu_fences_as_hu",
        "instructions::a_guest_does_not_fence_for_its_vm_plane"]),
    ("widen what is delegated, from HU or from the guest",
        &["csrs::hu_does_not_widen_what_is_delegated_to_it",
        "csrs::a_guest_reaches_no_csr_of_its_vm_plane",
        "csrs::a_kernel_that_delegates_every_exception_keeps_its_own",
        "csrs::a_kernel_that_delegates_every_interrupt_keeps_its_own",
        "given::a_request_for_exceptions_of_the_kernel_is_refused",
        "given::a_request_for_interrupts_of_the_kernel_is_refused"]),
    ("have a trap taken by the wrong mode",
        &["traps::a_trap_that_nobody_was_given_goes_to_the_kernel",
        "traps::a_trap_of_the_kernel_does_not_go_to_hu",
        "traps::a_trap_of_a_thread_that_is_not_hu_does_not_go_to_hu",
        "traps::an_access_outside_goes_to_the_kernel_whatever_is_delegated",
        "traps::a_dv_fault_goes_to_the_kernel_whatever_is_delegated",
        "given::a_guest_does_not_hide_from_the_vm_plane_what_it_asked_for"]),
    ("make the handler in HU trap, so that its state is overwritten",
        &["traps::a_trap_in_the_handler_does_not_overwrite_what_it_handles",
        "traps::a_guest_that_makes_its_handler_trap_gains_nothing",
        "traps::a_handler_is_not_interrupted_before_it_is_ready",
        "csrs::hu_does_not_say_that_it_handles_no_trap",
        "instructions::an_address_that_a_guest_made_up_does_not_trap_its_handler"]),
    ("interrupt a VM that is not one's own, or claim its vCPUs",
        &["posting::a_post_to_a_vcpu_of_a_neighbour_stops_the_vm",
        "posting::a_guest_that_posts_to_a_vcpu_of_a_neighbour_stops_its_vm",
        "posting::hu_does_not_claim_a_vcpu_that_is_not_of_its_vm",
        "posting::a_hart_does_not_take_the_vcpu_of_another_hart",
        "posting::a_vm_plane_that_names_an_absent_vcpu_is_stopped"]),
    ("raise, enable, see or hold back interrupts of the kernel",
        &["csrs::hu_raises_no_interrupt_of_the_kernel",
        "csrs::hu_enables_no_interrupt_of_the_kernel",
        "csrs::hu_does_not_see_what_interrupts_the_kernel",
        "posting::a_post_of_an_interrupt_of_the_kernel_is_a_dv_fault",
        "traps::a_storm_of_posts_does_not_hold_back_the_kernels_interrupts"]),
    ("get memory, time or harts from the driver that are others'",
        &["given::no_two_vms_have_the_same_memory",
        "given::a_window_does_not_end_within_a_page_of_somebody_else",
        "given::a_window_that_no_hart_could_check_is_not_granted",
        "given::a_vm_does_not_take_all_the_memory_that_is_left",
        "given::a_vm_has_the_memory_that_it_announced_whatever_others_took",
        "given::a_vm_plane_does_not_move_the_clock_of_those_who_run",
        "memory::a_vm_plane_reads_nothing_outside_of_its_windows",
        "memory::a_vm_plane_and_its_devices_write_nothing_outside_of_its_windows"]),
    ("go on after being stopped",
        &["lifetime::a_vm_that_was_stopped_does_not_run_again",
        "lifetime::a_vm_that_was_stopped_does_not_run_while_a_neighbour_does"]),
    ("leave something behind by dying at a bad moment, or find what a predecessor left",
        &["lifetime::a_vm_plane_that_dies_at_any_step_leaves_nothing_behind",
        "lifetime::the_memory_of_a_destroyed_vm_is_zero_before_it_is_granted_again",
        "lifetime::a_recycled_vm_id_gets_no_post_of_its_last_owner",
        "lifetime::a_recycled_vm_id_has_no_vcpu_of_its_last_owner",
        "lifetime::a_recycled_vm_id_uses_no_translation_of_its_last_owner",
        "lifetime::a_new_vm_does_not_read_how_long_its_hart_has_worked"]),
];
