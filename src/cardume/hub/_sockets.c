/* The same bytes to many sockets in one call: a loop of send(2), and nothing in between.

   What a socket does not take at once is left to its transport, which knows how to wait. So is an
   error: the transport meets it again and ends the connection. */

#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#ifndef MSG_NOSIGNAL /* macOS; CPython ignores SIGPIPE */
#define MSG_NOSIGNAL 0
#endif

/* With fewer sockets the interpreter's lock is kept: a busy thread may hold it for 5 ms. */
#define MANY 64

typedef struct {
    Py_ssize_t place;
    Py_ssize_t taken;
} Partial;

/* Send to each. Those that took less than all go to `partial`, which has room for `many`.
   Returns how many those are. */
static Py_ssize_t
send_all(const int *fds, Py_ssize_t many, const void *data, size_t size, Partial *partial)
{
    Py_ssize_t count = 0;

    for (Py_ssize_t place = 0; place < many; place++) {
        Py_ssize_t taken;
        do {
            taken = send(fds[place], data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
        } while (taken < 0 && errno == EINTR);
        if (taken != (Py_ssize_t)size)
            partial[count++] = (Partial){place, taken < 0 ? 0 : taken};
    }
    return count;
}

static PyObject *
as_list(const Partial *partial, Py_ssize_t count)
{
    PyObject *list = PyList_New(count);

    for (Py_ssize_t i = 0; list != NULL && i < count; i++) {
        PyObject *pair = Py_BuildValue("(nn)", partial[i].place, partial[i].taken);
        if (pair == NULL || PyList_SetItem(list, i, pair) < 0)
            Py_CLEAR(list);
    }
    return list;
}

static PyObject *
send_each(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_buffer fds, data;
    PyObject *result = NULL;
    Partial *partial;
    Py_ssize_t many, count;

    if (!PyArg_ParseTuple(args, "y*y*:send_each", &fds, &data))
        return NULL;
    many = fds.len / (Py_ssize_t)sizeof(int);
    /* Before the first byte leaves: what was sent has to be remembered. */
    partial = malloc((size_t)(many + 1) * sizeof(Partial));
    if (fds.itemsize != (Py_ssize_t)sizeof(int)) {
        PyErr_SetString(PyExc_TypeError, "fds is an array of C ints");
    }
    else if (partial == NULL) {
        PyErr_NoMemory();
    }
    else {
        PyThreadState *released = many >= MANY ? PyEval_SaveThread() : NULL;
        count = send_all(fds.buf, many, data.buf, (size_t)data.len, partial);
        if (released != NULL)
            PyEval_RestoreThread(released);
        result = as_list(partial, count);
    }
    free(partial);
    PyBuffer_Release(&fds);
    PyBuffer_Release(&data);
    return result;
}

static PyMethodDef methods[] = {
    {"send_each", send_each, METH_VARARGS,
     "send_each(fds, data, /)\n--\n\n"
     "Send to each descriptor of an array of C ints; (place, bytes taken) where that was not all."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_sockets", NULL, 0, methods, NULL,
                                    NULL, NULL, NULL};

PyMODINIT_FUNC
PyInit__sockets(void)
{
    return PyModuleDef_Init(&module);
}
