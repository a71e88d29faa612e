process.env.REWARDLAB_CACHE ??= 'off' // tests compile their programs, whatever ran before
process.env.XLA_FLAGS ??= '--xla_backend_optimization_level=0' // LLVM's: most of a test's time is compilation. XLA_FLAGS= npm test optimises as users' programs are

module.exports = { timeout: 60000 }
