//! What machine this is, in words.

/// The processor's name, as the system gives it; the instruction set where it gives none.
pub fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split_once(':'));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let name = name.map_or_else(|| std::env::consts::ARCH.to_string(), |(_, name)| name.trim().to_string());
    format!("{name}, {cores} {}", if cores == 1 { "core" } else { "cores" })
}
