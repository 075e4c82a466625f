/*
 * Reads Android manifests.
 */
package dev.rejoin.checks

import org.w3c.dom.Element
import javax.xml.parsers.DocumentBuilderFactory

object Manifest {
    /** The permissions that Rejoin needs. */
    val PERMISSIONS = setOf("android.permission.INTERNET", "android.permission.ACCESS_NETWORK_STATE")

    fun parse(bytes: ByteArray): Element = DocumentBuilderFactory.newInstance().newDocumentBuilder().parse(bytes.inputStream()).documentElement

    fun elements(parent: Element, tag: String? = null): List<Element> =
        List(parent.childNodes.length) { parent.childNodes.item(it) }.filterIsInstance<Element>().filter { tag == null || it.tagName == tag }

    fun attributes(element: Element): Map<String, String> =
        List(element.attributes.length) { element.attributes.item(it) }.associate { it.nodeName to it.nodeValue }

    fun permissions(manifest: Element): Set<String> = elements(manifest, "uses-permission").map { it.getAttribute("android:name") }.toSet()
}
