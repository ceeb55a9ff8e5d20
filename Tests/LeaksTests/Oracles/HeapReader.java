// Reads a heap dump by VisualVM's own library, and prints each object: identifier, size, retained size, class.
// usage: java -cp heap-reader.jar HeapReader.java DUMP

import java.io.File;
import java.util.Iterator;
import org.graalvm.visualvm.lib.jfluid.heap.Heap;
import org.graalvm.visualvm.lib.jfluid.heap.HeapFactory;
import org.graalvm.visualvm.lib.jfluid.heap.Instance;

public class HeapReader {
    public static void main(String[] words) throws Exception {
        Heap heap = HeapFactory.createHeap(new File(words[0]));
        for (Iterator<Instance> all = heap.getAllInstancesIterator(); all.hasNext();) {
            Instance one = all.next();
            System.out.println(Long.toHexString(one.getInstanceId()) + " " + one.getSize() + " "
                + one.getRetainedSize() + " " + one.getJavaClass().getName());
        }
    }
}
