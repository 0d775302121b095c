//! One heap for all threads, so that what one of them frees serves the others.
//!
//! The GNU C library gives threads arenas of their own, up to eight a core. The database's pages are made by whichever
//! thread reads or rewrites them, and freed by whichever thread comes by; so the holes of one arena stayed empty while
//! another grew, and memory crept up for as long as pages were moved. Measured in the same soak, on a full cache: 176
//! MB after three minutes and growing by 1,073 bytes a round; with one arena 107 MB and level, at the same capacity.
//! Small pieces come from caches of each thread's own either way.
//!
//! The second `unsafe` of the project. Not an allocator, and nothing to be asked twice.

/// Makes all threads share one arena, and answers whether they will; to be called before there is a second thread. Other
/// C libraries have no such arenas.
#[must_use]
pub fn share_one_arena() -> bool {
    #[cfg(target_env = "gnu")]
    {
        #[expect(
            unsafe_code,
            reason = "a setting of the C library: it takes two numbers, and no memory of ours"
        )]
        let answer = unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
        answer == 1
    }
    #[cfg(not(target_env = "gnu"))]
    true
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_c_library_takes_the_setting() {
        assert!(super::share_one_arena());
    }
}
