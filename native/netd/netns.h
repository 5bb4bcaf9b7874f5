/* Network namespaces: made, entered for a moment to open a socket, bound to a path. The process
 * itself always returns to its home namespace; if it could not, it ends rather than act elsewhere.
 */
#pragma once
#include "netlink.h"

/* A new namespace: `ret_fd` keeps it alive, `ret_inside` is a route socket in it; both the
 * caller's. */
int netns_create(int home_fd, int *ret_fd, struct netlink *ret_inside, struct err *err);

/* Opens a namespace by path; -EINVAL when the file is something else, -ENOENT when there is none.
 */
int netns_open(const char *path, int *ret_fd, struct err *err);

/* A route socket inside the namespace. */
int netns_socket(int home_fd, int netns_fd, struct netlink *ret_inside, struct err *err);

/* Binds the namespace to a path, which is created; its folder must exist. */
int netns_bind(int netns_fd, const char *path, struct err *err);

/* Unbinds and unlinks. No such file is success; a file that is no namespace stays. */
int netns_unbind(const char *path, struct err *err);
