/**
 * Everything that users read, in one place. Plain sentences; the thing is called 绑定码 throughout, never 验证码 or
 * 密码. (Only the title above the page stands elsewhere: WeChat wants it in `bind-account.json`.)
 */

const texts = {
    starting: '正在登录…',

    unbound: {
        title: '绑定客服会话',
        lead: '绑定后，客服就知道是您，查询和处理问题更快捷。',
        steps: ['获取一个绑定码', '打开客服会话', '发送绑定码，自动完成绑定'],
        get: '获取绑定码',
        getting: '正在获取…',
        note: '绑定后可以随时解除。',
    },

    pending: {
        label: '您的绑定码',
        copyHint: '点按复制',
        expiresIn: (/** @type {string} */ left) => `${left} 后过期`,
        renew: '换一个',
        renewing: '正在更换…',
        copy: '复制绑定码',
        copyAgain: '再次复制绑定码',
        open: '打开客服会话',
        openAgain: '再次打开客服会话',
        stepsTitle: '绑定步骤',
        steps: ['复制绑定码', '打开客服会话', '粘贴并发送绑定码'],
        status: {
            fresh: '发送绑定码后，这里会自动显示结果。',
            copied: '已复制。请打开客服会话，粘贴并发送。',
            waiting: '正在等待您在客服会话中发送绑定码…',
        },
        safety: '绑定码只用于从本页打开的客服会话，请不要告诉任何人。',
    },

    link: {
        unsupported: '当前微信版本不能直接打开客服会话。您可以更新微信，或者通过下面的链接进入。',
        failed: '没能打开客服会话。您可以再试一次，或者通过下面的链接进入。',
        label: '客服链接',
        copy: '复制客服链接',
        copyAgain: '再次复制客服链接',
        steps: ['复制客服链接，发给“文件传输助手”，点开链接', '回到这里复制绑定码，或者直接记住它', '在客服会话中发送绑定码'],
        copied: '链接已复制。请发给“文件传输助手”并点开，再回到这里复制绑定码。',
    },

    expired: {
        title: '绑定码已过期',
        lead: '如果您在过期前已经发送，请稍等，结果会自动显示在这里。没有发送的话，请重新获取。',
        revokedTitle: '绑定码已失效',
        revokedLead: '这个绑定码已被取消，请重新获取一个。',
        get: '重新获取绑定码',
    },

    bound: {
        justTitle: '绑定成功',
        title: '已绑定',
        lead: '客服会话已与您的账号关联，现在可以返回了。',
        nickname: '微信昵称',
        boundAt: '绑定时间',
        method: '绑定方式',
        /** @type {Record<string, string>} */
        methods: {
            code: '发送绑定码',
            link: '客服链接',
            card: '小程序卡片',
            unionid: '微信自动识别',
            window: '进入客服会话',
            staff: '客服人员协助',
            admin: '后台绑定',
        },
        undo: (/** @type {string} */ word) => `需要解除时，可以在客服会话中发送“${word}”，也可以点按下面的按钮。`,
        undoHere: '需要解除时，可以点按下面的按钮。',
        unbind: '解除绑定',
        unbinding: '正在解除…',
        confirm: {
            title: '解除绑定？',
            content: '解除后，客服将不再知道这个会话属于您的账号。您可以随时重新绑定。',
            yes: '解除绑定',
            no: '暂不解除',
        },
    },

    retry: '立即重试',
    retrying: '正在重试…',
    retryIn: (/** @type {number} */ seconds) => `${seconds} 秒后自动重试`,
    wait: (/** @type {number} */ seconds) => `请稍候（${seconds} 秒）`,

    /**
     * What went wrong: a title and what to do for the whole page, and one sentence where the page stays as it is.
     * @type {Record<import('./pages/bind-account/types').Problem, { title: string, detail: string, short: string }>}
     */
    problems: {
        offline: { title: '网络连接不上', detail: '请检查手机的网络。恢复后，这里会自动继续。', short: '网络连接不上，请检查网络。' },
        timeout: { title: '服务器没有回应', detail: '可能是网络较慢，请稍候，或者换个网络再试。', short: '网络较慢，服务器没有及时回应。' },
        busy: { title: '操作太频繁', detail: '请稍等一会儿再试。', short: '操作太频繁，请稍候再试。' },
        wecom: { title: '客服系统暂时连不上', detail: '您的账号没有问题，请稍后再试。', short: '客服系统暂时连不上，请稍后再试。' },
        wechat: { title: '微信登录暂时不可用', detail: '微信的服务没有回应，请稍后再试。', short: '微信登录暂时不可用，请稍后再试。' },
        refused: {
            title: '微信拒绝了这次登录',
            detail: '微信认为当前账号有风险。请稍后重试，或者换个网络再试。',
            short: '微信拒绝了这次登录，请稍后再试。',
        },
        server: { title: '服务暂时出了点问题', detail: '我们的服务正在恢复，请稍候。', short: '服务暂时出了点问题，请稍后再试。' },
        session: { title: '登录没有成功', detail: '请重试。如果一直这样，请关闭小程序后重新打开。', short: '登录没有成功，请重试。' },
        unexpected: {
            title: '没有得到正确的结果',
            detail: '请检查网络后重试。如果一直这样，请关闭小程序后重新打开。',
            short: '没有得到正确的结果，请重试。',
        },
    },

    notices: {
        'code-copy-failed': '没能自动复制。请长按绑定码复制，或者直接在会话中输入。',
        'link-copy-failed': '没能自动复制。请长按链接复制。',
        'chat-failed': '没能打开客服会话。请再试一次，或者使用下面的链接。',
        unbound: '已解除绑定。',
        undone: '绑定已被解除。',
    },

    /** For screen readers. */
    spoken: {
        code: (/** @type {string} */ code) => `绑定码 ${code}，点按复制`,
        left: (/** @type {number} */ minutes, /** @type {number} */ seconds) =>
            minutes > 0 ? `剩余 ${minutes} 分 ${seconds} 秒` : `剩余 ${seconds} 秒`,
        step: (/** @type {number} */ number, /** @type {string} */ text, /** @type {boolean} */ done) =>
            `第 ${number} 步：${text}${done ? '，已完成' : ''}`,
    },

    /** @param {Date} date */
    time: (date) => {
        const two = (/** @type {number} */ number) => String(number).padStart(2, '0');
        const day = `${date.getFullYear()} 年 ${date.getMonth() + 1} 月 ${date.getDate()} 日`;
        return `${day} ${two(date.getHours())}:${two(date.getMinutes())}`;
    },
};

module.exports = texts;
