//! The device tree that tells firmware or a kernel what its machine is made of.

#[cfg(test)]
mod tests;

use devices::virtio::rng::Generator;
use isa::{Ext, Interrupt};
use vm_fdt::{Error, FdtWriter};

use super::config::{BareConfig, ConfigError};
use super::layout::{
    ACLINT, CACHE_BLOCK, FINISHER, PLIC, PLIC_SOURCES, RAM_BASE, RTC, RTC_IRQ, Span, TIMEBASE_HZ,
    UART, UART_IRQ, VIRTIO_BLOCK, VIRTIO_SLOTS, virtio, virtio_irq,
};

/// Handle of the PLIC; the interrupt controllers of the harts follow the finisher.
const PLIC_HANDLE: u32 = 1;
const FINISHER_HANDLE: u32 = 2;
const FIRST_INTC_HANDLE: u32 = 3;

/// Begin of every flattened device tree, big-endian.
const MAGIC: u32 = 0xd00d_feed;
/// Bytes of its header.
const HEADER: usize = 40;
/// Most bytes of a device tree that a user may bring: Linux maps no more than this of it.
const MAX_BYTES: usize = 2 << 20;

/// Stirred into the seed, so that `rng-seed` and the entropy device give different bytes.
const RNG_SEED_SALT: u64 = 0x6474_6273_6565_6421;

/// The used part of a user's device tree: magic and size are looked at, no more.
pub(crate) fn check(blob: &[u8]) -> Result<&[u8], ConfigError> {
    let word = |at: usize| -> Option<u32> {
        Some(u32::from_be_bytes(blob.get(at..at + 4)?.try_into().ok()?))
    };
    let (Some(magic), Some(size), true) = (word(0), word(4), blob.len() >= HEADER) else {
        return Err(ConfigError::DeviceTree("it is shorter than a header"));
    };
    if magic != MAGIC {
        return Err(ConfigError::DeviceTree("it does not begin with d00dfeed"));
    }
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    if size > MAX_BYTES {
        return Err(ConfigError::DeviceTree("it is larger than 2 MiB"));
    }
    if size < HEADER {
        return Err(ConfigError::DeviceTree("its size is less than its header's"));
    }
    blob.get(..size).ok_or(ConfigError::DeviceTree("it is truncated"))
}

/// Writes our own device tree; `initrd` is its first address and the first after it.
pub(crate) fn build(config: &BareConfig, initrd: Option<(u64, u64)>) -> Result<Vec<u8>, Error> {
    let mut fdt = FdtWriter::new()?;
    let root = fdt.begin_node("")?;
    fdt.property_u32("#address-cells", 2)?;
    fdt.property_u32("#size-cells", 2)?;
    fdt.property_string("compatible", "riscv-virtio")?;
    fdt.property_string("model", "riscv-virtio,qemu")?;
    chosen(&mut fdt, config, initrd)?;
    let memory = fdt.begin_node(&format!("memory@{RAM_BASE:x}"))?;
    fdt.property_string("device_type", "memory")?;
    fdt.property_array_u64("reg", &[RAM_BASE, config.memory])?;
    fdt.end_node(memory)?;
    cpus(&mut fdt, config)?;
    syscon(&mut fdt, "poweroff", "syscon-poweroff", devices::finisher::PASS)?;
    syscon(&mut fdt, "reboot", "syscon-reboot", devices::finisher::RESET)?;
    let soc = fdt.begin_node("soc")?;
    fdt.property_u32("#address-cells", 2)?;
    fdt.property_u32("#size-cells", 2)?;
    fdt.property_string("compatible", "simple-bus")?;
    fdt.property_null("ranges")?;
    platform(&mut fdt, config)?;
    fdt.end_node(soc)?;
    fdt.end_node(root)?;
    fdt.finish()
}

fn chosen(
    fdt: &mut FdtWriter,
    config: &BareConfig,
    initrd: Option<(u64, u64)>,
) -> Result<(), Error> {
    let node = fdt.begin_node("chosen")?;
    fdt.property_string("bootargs", &config.cmdline)?;
    fdt.property_string("stdout-path", &format!("/soc/serial@{:x}", UART.base))?;
    if let Some((begin, end)) = initrd {
        fdt.property_u64("linux,initrd-start", begin)?;
        fdt.property_u64("linux,initrd-end", end)?;
    }
    let mut seed = [0; 64];
    Generator::new(config.seed ^ RNG_SEED_SALT).fill(&mut seed);
    fdt.property("rng-seed", &seed)?;
    fdt.end_node(node)
}

fn handles(harts: usize) -> impl Iterator<Item = u32> {
    (FIRST_INTC_HANDLE..).take(harts)
}

fn cpus(fdt: &mut FdtWriter, config: &BareConfig) -> Result<(), Error> {
    // DV-ext has no name that a kernel could know.
    let isa = config.isa.without(Ext::Xdv);
    let names: Vec<String> = isa.device_tree_names().map(str::to_owned).collect();
    let cpus = fdt.begin_node("cpus")?;
    fdt.property_u32("#address-cells", 1)?;
    fdt.property_u32("#size-cells", 0)?;
    fdt.property_u32("timebase-frequency", TIMEBASE_HZ)?;
    for handle in handles(config.harts) {
        let hart = handle - FIRST_INTC_HANDLE;
        let node = fdt.begin_node(&format!("cpu@{hart:x}"))?;
        fdt.property_string("device_type", "cpu")?;
        fdt.property_u32("reg", hart)?;
        fdt.property_string("status", "okay")?;
        fdt.property_string("compatible", "riscv")?;
        fdt.property_string("riscv,isa", &isa.device_tree_isa().to_string())?;
        fdt.property_string("riscv,isa-base", "rv64i")?;
        fdt.property_string_list("riscv,isa-extensions", names.clone())?;
        fdt.property_string("mmu-type", isa.mmu_type())?;
        for (ext, property) in [
            (Ext::Zicbom, "riscv,cbom-block-size"),
            (Ext::Zicbop, "riscv,cbop-block-size"),
            (Ext::Zicboz, "riscv,cboz-block-size"),
        ] {
            if isa.has(ext) {
                fdt.property_u32(property, CACHE_BLOCK)?;
            }
        }
        let intc = fdt.begin_node("interrupt-controller")?;
        fdt.property_u32("#interrupt-cells", 1)?;
        fdt.property_null("interrupt-controller")?;
        fdt.property_string("compatible", "riscv,cpu-intc")?;
        fdt.property_phandle(handle)?;
        fdt.end_node(intc)?;
        fdt.end_node(node)?;
    }
    fdt.end_node(cpus)
}

fn reg(fdt: &mut FdtWriter, span: Span) -> Result<(), Error> {
    fdt.property_array_u64("reg", &[span.base, span.size])
}

fn compatible(fdt: &mut FdtWriter, names: &[&str]) -> Result<(), Error> {
    fdt.property_string_list("compatible", names.iter().map(|name| (*name).to_owned()).collect())
}

fn interrupt(fdt: &mut FdtWriter, irq: u32) -> Result<(), Error> {
    fdt.property_u32("interrupt-parent", PLIC_HANDLE)?;
    fdt.property_u32("interrupts", irq)
}

/// Two interrupts of each hart, as a controller lists those that it drives.
fn wires(harts: usize, interrupts: [Interrupt; 2]) -> Vec<u32> {
    let cells = |handle| interrupts.map(|interrupt| [handle, u32::from(interrupt as u8)]);
    handles(harts).flat_map(cells).flatten().collect()
}

/// The devices, in the order of their addresses within each kind.
fn platform(fdt: &mut FdtWriter, config: &BareConfig) -> Result<(), Error> {
    let node = fdt.begin_node(&format!("test@{:x}", FINISHER.base))?;
    compatible(fdt, &["sifive,test1", "sifive,test0", "syscon"])?;
    reg(fdt, FINISHER)?;
    fdt.property_phandle(FINISHER_HANDLE)?;
    fdt.end_node(node)?;

    let node = fdt.begin_node(&format!("rtc@{:x}", RTC.base))?;
    compatible(fdt, &["google,goldfish-rtc"])?;
    reg(fdt, RTC)?;
    interrupt(fdt, RTC_IRQ)?;
    fdt.end_node(node)?;

    let node = fdt.begin_node(&format!("clint@{:x}", ACLINT.base))?;
    compatible(fdt, &["sifive,clint0", "riscv,clint0"])?;
    reg(fdt, ACLINT)?;
    let machine = [Interrupt::MachineSoftware, Interrupt::MachineTimer];
    fdt.property_array_u32("interrupts-extended", &wires(config.harts, machine))?;
    fdt.end_node(node)?;

    plic(fdt, config.harts)?;

    let node = fdt.begin_node(&format!("serial@{:x}", UART.base))?;
    compatible(fdt, &["ns16550a"])?;
    reg(fdt, UART)?;
    fdt.property_u32("clock-frequency", 3_686_400)?;
    interrupt(fdt, UART_IRQ)?;
    fdt.end_node(node)?;

    for slot in (0..VIRTIO_SLOTS).filter(|slot| *slot != VIRTIO_BLOCK || config.disk.is_some()) {
        let node = fdt.begin_node(&format!("virtio_mmio@{:x}", virtio(slot).base))?;
        compatible(fdt, &["virtio,mmio"])?;
        reg(fdt, virtio(slot))?;
        fdt.property_null("dma-coherent")?;
        interrupt(fdt, virtio_irq(slot))?;
        fdt.end_node(node)?;
    }
    Ok(())
}

/// The PLIC: its contexts are the M and S external interrupts of the harts, in order.
fn plic(fdt: &mut FdtWriter, harts: usize) -> Result<(), Error> {
    let node = fdt.begin_node(&format!("plic@{:x}", PLIC.base))?;
    compatible(fdt, &["sifive,plic-1.0.0", "riscv,plic0"])?;
    fdt.property_null("interrupt-controller")?;
    fdt.property_u32("#interrupt-cells", 1)?;
    fdt.property_u32("#address-cells", 0)?;
    let external = [Interrupt::MachineExternal, Interrupt::SupervisorExternal];
    fdt.property_array_u32("interrupts-extended", &wires(harts, external))?;
    fdt.property_u32("riscv,ndev", PLIC_SOURCES)?;
    reg(fdt, PLIC)?;
    fdt.property_phandle(PLIC_HANDLE)?;
    fdt.end_node(node)
}

fn syscon(fdt: &mut FdtWriter, name: &str, compatible: &str, value: u64) -> Result<(), Error> {
    let node = fdt.begin_node(name)?;
    fdt.property_string("compatible", compatible)?;
    fdt.property_u32("regmap", FINISHER_HANDLE)?;
    fdt.property_u32("offset", 0)?;
    // The values of the finisher have 16 bits.
    fdt.property_u32("value", u32::try_from(value).unwrap_or(0))?;
    fdt.end_node(node)
}
