//! The operator's command.

fn main() -> std::process::ExitCode {
    adit::cli::run()
}
