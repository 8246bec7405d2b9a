/* The same bytes to many sockets in one call: a loop of send(2), and nothing in between.

   What a socket does not take at once is left to its transport, which knows how to wait. So is an
   error: the transport meets it again and ends the connection. */

#ifndef Py_GIL_DISABLED /* which has no stable ABI before 3.15 */
#define Py_LIMITED_API 0x030B0000
#endif
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
} Short;

/* Send to each; those that took less than all go to `*shorts`, which the caller frees.
   Returns how many those are, or -1 without memory to remember them. */
static Py_ssize_t
send_all(const int *sockets, Py_ssize_t many, const void *data, size_t size, Short **shorts)
{
    Py_ssize_t count = 0;

    for (Py_ssize_t place = 0; place < many; place++) {
        Py_ssize_t taken;
        do {
            taken = send(sockets[place], data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
        } while (taken < 0 && errno == EINTR);
        if (taken == (Py_ssize_t)size)
            continue;
        if (*shorts == NULL) {
            *shorts = malloc((size_t)(many - place) * sizeof(Short));
            if (*shorts == NULL)
                return -1;
        }
        (*shorts)[count++] = (Short){place, taken < 0 ? 0 : taken};
    }
    return count;
}

static PyObject *
as_list(const Short *shorts, Py_ssize_t count)
{
    PyObject *list = PyList_New(count);

    for (Py_ssize_t i = 0; list != NULL && i < count; i++) {
        PyObject *pair = Py_BuildValue("(nn)", shorts[i].place, shorts[i].taken);
        if (pair == NULL || PyList_SetItem(list, i, pair) < 0)
            Py_CLEAR(list);
    }
    return list;
}

static PyObject *
send_each(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_buffer sockets, data;
    PyObject *result = NULL;
    Short *shorts = NULL;
    Py_ssize_t many, count;

    if (!PyArg_ParseTuple(args, "y*y*:send_each", &sockets, &data))
        return NULL;
    many = sockets.len / (Py_ssize_t)sizeof(int);
    if (sockets.itemsize != (Py_ssize_t)sizeof(int)) {
        PyErr_SetString(PyExc_TypeError, "sockets is an array of C ints");
    }
    else {
        PyThreadState *released = many >= MANY ? PyEval_SaveThread() : NULL;
        count = send_all(sockets.buf, many, data.buf, (size_t)data.len, &shorts);
        if (released != NULL)
            PyEval_RestoreThread(released);
        result = count < 0 ? PyErr_NoMemory() : as_list(shorts, count);
    }
    free(shorts);
    PyBuffer_Release(&sockets);
    PyBuffer_Release(&data);
    return result;
}

static PyMethodDef methods[] = {
    {"send_each", send_each, METH_VARARGS,
     "send_each(sockets, data, /)\n--\n\n"
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
