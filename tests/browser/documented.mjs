export const documented = {};
