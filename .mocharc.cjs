process.env.REWARDLAB_CACHE ??= 'off' // tests compile their programs, whatever ran before

module.exports = { timeout: 60000 }
